//! Run records: the request, the progress and the outcome of every run.
//!
//! A record is also the fence between workers. A worker that takes up a job increments `attempts`
//! by compare-and-swap. Another worker that still holds the earlier revision can no longer save the
//! record, and stops. The record is also the dead letter: a run that was given up stays here as
//! `failed`, with the reason, until a person retries it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::BrokerError;
use super::job_id::JobId;
use super::message_size::{MAX_MESSAGE, size};
use super::records::{Records, Revision};
use super::request::JobRequest;
use super::run_index::RunIndex;
use super::run_state::RunState;
use super::streams::Streams;
use crate::default_value::is_default;
use crate::failure::{Failure, RetryDirective, chain};
use crate::text::plain_line;

/// An error as stored in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedError {
    /// Message of the error and of its sources.
    pub message: String,
    /// Advice on the setting or system to check or change.
    pub advice: String,
    /// Retry directive of the error.
    pub remedy: RetryDirective,
}

impl RecordedError {
    /// Records an error. A message may hold a server's answer of any length, so it is cut to 2,000
    /// bytes, and the advice to 1,000.
    pub fn new(failure: &dyn Failure) -> Self {
        Self {
            message: plain_line(&chain(failure), 2_000),
            advice: plain_line(&failure.advice(), 1_000),
            remedy: failure.directive(),
        }
    }
}

/// One stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Name of the stage.
    pub stage: String,
    /// Start of the stage's latest attempt.
    pub started_at: Timestamp,
    /// End of the stage; `None` while it runs, or when it was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Figures that the stage reports; each stage has its own fields.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub figures: Value,
    /// Error that the stage failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordedError>,
}

/// The zip that a run published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedArtifact {
    /// Path of the zip in the model repository.
    pub path: String,
    /// Commit that made the zip visible.
    pub commit: String,
    /// SHA-256 of the zip, in hexadecimal.
    pub sha256: String,
    /// Length of the zip in bytes.
    pub size: u64,
}

/// A finished zip, recorded before its upload, so that a later attempt recognizes it on the Hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// File name of the release.
    pub release: String,
    /// SHA-256 of the zip, in hexadecimal.
    pub sha256: String,
    /// Length of the zip in bytes.
    pub size: u64,
    /// Release that was live when the model was judged, and the only one that the model may
    /// replace. `None` before the first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
    /// Content that this release had: its SHA-256 or the id of its blob. `None` from an older
    /// version, and before the first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of_content: Option<String>,
}

/// Latest rollback that was known when a run began or was last retried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRollback {
    /// Number of the retry; 0 for the original request.
    pub retry: u64,
    /// Newest version, at that time, that made an older version live again; `None` if there was
    /// none.
    pub rollback: Option<String>,
}

/// Everything that is recorded about a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Id of the job, and key of the record.
    pub id: JobId,
    /// State of the run.
    pub state: RunState,
    /// Request that started the run.
    pub request: JobRequest,
    /// Number of times that a worker took up the run; the fence between workers.
    #[serde(default)]
    pub attempts: u64,
    /// Number of attempts that failed or ended without a report since the run was
    /// requested or last retried.
    #[serde(default)]
    pub failures: u64,
    /// Number of times that a person retried the run after its end.
    #[serde(default)]
    pub retries: u64,
    /// Time at which the record was created.
    pub created_at: Timestamp,
    /// Time at which the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Latest rollback that was known when the run began. A later rollback keeps the model from
    /// being published unless a person retries the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<KnownRollback>,
    /// Stream sequence of the first pair in the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sequence: Option<u64>,
    /// Stream sequence of the last pair in the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
    /// Number of pairs in the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_count: Option<u64>,
    /// Hash of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_hash: Option<String>,
    /// Model that the run started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// Sentence that says why the run didn't start from the live release, when that release can't be
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_unreadable: Option<String>,
    /// Sentence that says why the run didn't start from the live release, when that release can be
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_continued: Option<String>,
    /// Last stream sequence of the data of the newest earlier run that changed the live release's tokens, and
    /// that the gate refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_switch: Option<u64>,
    /// Everything besides the rows that determines the model's weights, as in the receipt: base
    /// model and its hash, settings, seed.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub lineage: Value,
    /// Settings that the run used.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
    /// Stages, in the order in which they began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageRecord>,
    /// Number of earlier stages that the record no longer lists, to bound its size.
    #[serde(default, skip_serializing_if = "is_default")]
    pub earlier_stages: u64,
    /// Scores of the model and of its baselines.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub metrics: Value,
    /// Verdict of the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Name under which the model is to be published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Every zip that was prepared for upload; the last one is the current one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageRecord>,
    /// The zip that was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<PublishedArtifact>,
    /// Error that the run failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordedError>,
}

impl RunRecord {
    /// Returns true when a zip of this run may be on the Hub, although no attempt has recorded that: the
    /// answer to an upload may have been lost, or its worker killed.
    pub(crate) fn may_be_published(&self) -> bool {
        self.artifact.is_none() && !self.packages.is_empty() && !self.request.dry_run
    }

    /// Returns [`refused_switch`](Self::refused_switch) as it is for the run that comes after this one.
    pub(crate) fn refused_switch_so_far(&self) -> Option<u64> {
        match (&self.not_continued, self.state) {
            (Some(_), RunState::Refused) => self.last_sequence,
            (Some(_), RunState::Done) if self.artifact.is_some() => None,
            _ => self.refused_switch,
        }
    }

    /// Creates the record of a run that has not begun.
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
            live_unreadable: None,
            not_continued: None,
            refused_switch: None,
            lineage: Value::Null,
            settings: Value::Null,
            stages: Vec::new(),
            earlier_stages: 0,
            metrics: Value::Null,
            verdict: None,
            release: None,
            packages: Vec::new(),
            artifact: None,
            error: None,
        }
    }
}

/// Handle of the bucket of run records.
#[derive(Debug, Clone)]
pub struct Runs {
    // Shared: a handle of a bucket is large, and many values have a handle of the runs.
    pub(super) records: Arc<Records<RunRecord>>,
    pub(super) index: Arc<RunIndex>,
    cancellations: Arc<Records<Cancellation>>,
}

/// A person's request to cancel a run, stored under the key `cancel.<job>` in the
/// bucket of the trigger's state.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Cancellation {
    /// Number of the retry that the request is for. A later retry is not cancelled.
    retries: u64,
}

impl Runs {
    /// Opens the run records of these streams.
    pub fn new(streams: &Streams) -> Self {
        Self {
            records: Arc::new(streams.runs()),
            index: Arc::new(RunIndex::new(streams)),
            cancellations: Arc::new(streams.state()),
        }
    }

    /// Writes the record of a new run.
    ///
    /// # Errors
    /// [`BrokerError::Exists`] when the run has a record: load the record and continue from there.
    /// [`BrokerError::Request`], [`BrokerError::Encode`].
    pub async fn create(&self, record: &RunRecord) -> Result<Revision, BrokerError> {
        let revision = Box::pin(self.records.create(record.id.as_str(), record)).await?;
        Box::pin(self.index.enter(record)).await;
        Ok(revision)
    }

    /// Reads a record, with the revision that [`Runs::save`] needs.
    ///
    /// # Errors
    /// [`BrokerError::Unreadable`], [`BrokerError::Request`].
    pub async fn load(&self, id: &JobId) -> Result<Option<(RunRecord, Revision)>, BrokerError> {
        self.records.load(id.as_str()).await
    }

    /// Replaces a record, unless it was changed since `revision`. A record above [`MAX_MESSAGE`], as
    /// earlier versions wrote, is stored without its [largest figures](RunRecord::fit).
    ///
    /// # Errors
    /// [`BrokerError::Conflict`] when another worker has taken over the run: stop.
    /// [`BrokerError::TooLarge`] when the server takes only smaller messages.
    /// [`BrokerError::Request`], [`BrokerError::Encode`].
    pub async fn save(&self, record: &RunRecord, revision: Revision) -> Result<Revision, BrokerError> {
        let revision = if size(record) <= MAX_MESSAGE {
            Box::pin(self.records.save(record.id.as_str(), record, revision)).await?
        } else {
            let mut record = record.clone();
            record.fit(MAX_MESSAGE);
            Box::pin(self.records.save(record.id.as_str(), &record, revision)).await?
        };
        Box::pin(self.index.enter(record)).await;
        Ok(revision)
    }

    /// Stores a request to cancel a run, for the worker that holds the run or will take it up.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub(super) async fn request_cancel(&self, id: &JobId, retries: u64) -> Result<(), BrokerError> {
        self.cancellations
            .update(&cancel_key(id), |stored| match stored {
                Some(stored) if stored.retries >= retries => None,
                Some(_) | None => Some(Cancellation { retries }),
            })
            .await
    }

    /// Returns true when a person has asked to cancel this run, at this retry or a later one.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn is_cancel_requested(&self, id: &JobId, retries: u64) -> Result<bool, BrokerError> {
        let stored = self.cancellations.load(&cancel_key(id)).await?;
        Ok(stored.is_some_and(|(cancellation, _)| cancellation.retries >= retries))
    }

    /// Returns all records, newest first. Unreadable records are left out.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn list(&self) -> Result<Vec<RunRecord>, BrokerError> {
        let mut runs = self.records.all().await?;
        runs.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| b.id.cmp(&a.id)));
        Ok(runs)
    }
}

fn cancel_key(id: &JobId) -> String {
    format!("cancel.{id}")
}
