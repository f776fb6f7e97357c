//! The run records: what was asked, what was done, how it ended.
//!
//! A record is also the fence between workers. Whoever takes a job up counts `attempts` one further, by
//! compare-and-swap; a worker that still holds the record from before can't save it any more, and stops. And it is
//! the dead letter: a run that was given up stays here as `failed`, with the reason, until somebody retries it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::QueueError;
use super::job_id::JobId;
use super::records::{Records, Revision};
use super::request::JobRequest;
use super::run_state::RunState;
use super::streams::Streams;
use crate::failure::{Failure, RetryDirective, chain};

/// An error as a record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedError {
    /// What happened, with its sources.
    pub message: String,
    /// What to check or change.
    pub advice: String,
    /// What it asks for.
    pub remedy: RetryDirective,
}

impl RecordedError {
    /// Records an error.
    pub fn new(failure: &dyn Failure) -> Self {
        Self { message: chain(failure), advice: failure.advice(), remedy: failure.directive() }
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

/// A finished zip, written down before it is sent: whoever comes after knows it when it meets it on the Hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// The release's file name.
    pub release: String,
    /// SHA-256 of the zip, in hexadecimal.
    pub sha256: String,
    /// Length of the zip in bytes.
    pub size: u64,
    /// The release that was live when the model was judged: only that one it may take the place of. None before the
    /// first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

/// What was known of rollbacks when a run began, or was last asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// The retry it was.
    pub retry: u64,
    /// The newest version then that makes an older one live again; none if there was none.
    pub rollback: Option<String>,
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
    /// How often a worker took the run up; the fence between workers.
    #[serde(default)]
    pub attempts: u64,
    /// How many attempts failed, or ended without a word, since the run was asked for or retried.
    #[serde(default)]
    pub failures: u64,
    /// How often a person had the run tried again after its end.
    #[serde(default)]
    pub retries: u64,
    /// When the record was created.
    pub created_at: Timestamp,
    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What was known of rollbacks when it began; a later one keeps it from being published unasked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Began>,
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
    /// What decides the model's weights beside the rows, as the receipt has it: base model and its hash, settings, seed.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub lineage: Value,
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
    /// The name the model is to be published under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Every zip that was made ready to be sent; the last is the one in hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageRecord>,
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
            attempts: 0,
            failures: 0,
            retries: 0,
            created_at,
            ended_at: None,
            began: None,
            row_count: None,
            dataset_hash: None,
            lineage: Value::Null,
            settings: Value::Null,
            stages: Vec::new(),
            metrics: Value::Null,
            verdict: None,
            release: None,
            packages: Vec::new(),
            artifact: None,
            error: None,
        }
    }
}

/// The bucket of run records.
#[derive(Debug, Clone)]
pub struct Runs {
    records: Records<RunRecord>,
    cancellations: Records<Cancellation>,
}

/// A person's wish that a run stops, under the key `cancel.<job>` beside the trigger's memory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Cancellation {
    /// The retry it was meant for: a later retry is not stopped by it.
    retries: u64,
}

impl Runs {
    /// The run records of these streams.
    pub fn new(streams: &Streams) -> Self {
        Self { records: streams.runs(), cancellations: streams.state() }
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

    /// Keeps the wish that a run stops, for whichever worker has it or will have it.
    ///
    /// # Errors
    /// [`QueueError::Request`].
    pub(super) async fn request_cancel(&self, id: &JobId, retries: u64) -> Result<(), QueueError> {
        let (key, wish) = (cancel_key(id), Cancellation { retries });
        loop {
            let kept = match self.cancellations.load(&key).await? {
                Some((known, _)) if known.retries >= retries => return Ok(()),
                Some((_, revision)) => self.cancellations.save(&key, &wish, revision).await,
                None => self.cancellations.create(&key, &wish).await,
            };
            match kept {
                Ok(_) => return Ok(()),
                // Somebody else wished something at the same moment: look again.
                Err(QueueError::Conflict { .. } | QueueError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a person wants this run, as of this retry, to stop.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::Unreadable`].
    pub async fn is_cancel_requested(&self, id: &JobId, retries: u64) -> Result<bool, QueueError> {
        let wish = self.cancellations.load(&cancel_key(id)).await?;
        Ok(wish.is_some_and(|(wish, _)| wish.retries >= retries))
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

fn cancel_key(id: &JobId) -> String {
    format!("cancel.{id}")
}
