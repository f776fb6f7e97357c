//! The run records: what was asked, what was done, how it ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::QueueError;
use super::job_id::JobId;
use super::records::{Records, Revision};
use super::request::JobRequest;
use super::streams::Streams;
use crate::failure::{Failure, Remedy, chain};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Known, not begun.
    Queued,
    /// Worked on, or interrupted and to be taken up again.
    Running,
    /// Finished: a model was published, or the run was a dry one.
    Done,
    /// Finished: the new model was not better, or there was nothing to train on.
    Refused,
    /// Given up.
    Failed,
    /// Stopped by a person.
    Cancelled,
}

impl RunState {
    /// Whether nothing more will happen to the run.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Done | Self::Refused | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// An error as a record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedError {
    /// What happened, with its sources.
    pub message: String,
    /// What to check or change.
    pub advice: String,
    /// What it asks for.
    pub remedy: Remedy,
}

impl RecordedError {
    /// Records an error.
    pub fn new(failure: &dyn Failure) -> Self {
        Self { message: chain(failure), advice: failure.advice(), remedy: failure.remedy() }
    }
}

/// One stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Its name.
    pub stage: String,
    /// When it began, the last time.
    pub started_at: Timestamp,
    /// When it ended; not set while it goes on, or when it was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Whatever the stage has to tell.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub figures: Value,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordedError>,
}

/// What a run published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedArtifact {
    /// Its path in the model repository.
    pub path: String,
    /// The commit that made it visible.
    pub commit: String,
    /// SHA-256 of the zip, in hexadecimal.
    pub sha256: String,
    /// Length of the zip in bytes.
    pub size: u64,
}

/// All there is to know about a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The job's id, and the record's key.
    pub id: JobId,
    /// Where it stands.
    pub state: RunState,
    /// What was asked for.
    pub request: JobRequest,
    /// When the record was created.
    pub created_at: Timestamp,
    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The stream sequence of the first pair of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sequence: Option<u64>,
    /// The stream sequence of the last pair of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
    /// How many pairs the data has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_count: Option<u64>,
    /// The hash of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_hash: Option<String>,
    /// The model the run started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// The settings the run was made with.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
    /// The stages, in the order they were begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageRecord>,
    /// How good the model is, next to its baselines.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub metrics: Value,
    /// What the gate said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// What was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<PublishedArtifact>,
    /// Why the run failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordedError>,
}

impl RunRecord {
    /// The record of a run that has not begun.
    pub fn new(id: JobId, request: JobRequest, created_at: Timestamp) -> Self {
        Self {
            id,
            state: RunState::Queued,
            first_sequence: request.first_sequence,
            last_sequence: request.last_sequence,
            base_model: request.base_model.clone(),
            request,
            created_at,
            ended_at: None,
            row_count: None,
            dataset_hash: None,
            settings: Value::Null,
            stages: Vec::new(),
            metrics: Value::Null,
            verdict: None,
            artifact: None,
            error: None,
        }
    }
}

/// The bucket of run records.
#[derive(Debug, Clone)]
pub struct Runs {
    records: Records<RunRecord>,
}

impl Runs {
    /// The run records of these streams.
    pub fn new(streams: &Streams) -> Self {
        Self { records: streams.runs() }
    }

    /// Writes the record of a run that is new.
    ///
    /// # Errors
    /// [`QueueError::Exists`] when the run is known: load it and go on from there. [`QueueError::Request`],
    /// [`QueueError::Encode`].
    pub async fn create(&self, record: &RunRecord) -> Result<Revision, QueueError> {
        self.records.create(record.id.as_str(), record).await
    }

    /// Reads a record, with the revision that [`Runs::save`] asks for.
    ///
    /// # Errors
    /// [`QueueError::Unreadable`], [`QueueError::Request`].
    pub async fn load(&self, id: &JobId) -> Result<Option<(RunRecord, Revision)>, QueueError> {
        self.records.load(id.as_str()).await
    }

    /// Replaces a record, unless somebody else did since `revision`.
    ///
    /// # Errors
    /// [`QueueError::Conflict`] when another worker has the run now: stop. [`QueueError::Request`],
    /// [`QueueError::Encode`].
    pub async fn save(&self, record: &RunRecord, revision: Revision) -> Result<Revision, QueueError> {
        self.records.save(record.id.as_str(), record, revision).await
    }

    /// All records, newest first. One that can't be read is left out.
    ///
    /// # Errors
    /// [`QueueError::Request`].
    pub async fn list(&self) -> Result<Vec<RunRecord>, QueueError> {
        let mut runs = self.records.all().await?;
        runs.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| b.id.cmp(&a.id)));
        Ok(runs)
    }
}
