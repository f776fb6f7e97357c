//! State that the trigger keeps across restarts, in the bucket `trainer_state` under the key
//! `trigger`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::Reason;
use crate::broker::{BrokerError, JobId, JobRequest, Records, Revision, Streams};

const KEY: &str = "trigger";

/// Pairs that belong to a job or a run already, and the job that is about to be published.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coverage {
    /// Stream sequence up to which pairs belong to a job that was started, or to a run that ended.
    pub covered_sequence: u64,
    /// Job that is decided but perhaps not published.
    pub intent: Option<Intent>,
    /// Time at which the last run ended, whatever its outcome.
    pub last_run_ended_at: Option<Timestamp>,
}

/// A decided job, with everything that is needed to publish it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Id of the job, derived from the sequences.
    pub job_id: JobId,
    /// Stream sequence of the first pair.
    pub first_sequence: u64,
    /// Stream sequence of the last pair.
    pub last_sequence: u64,
    /// Reason the job is due.
    pub reason: Reason,
}

impl Intent {
    /// Returns the request that publishes the job.
    pub fn request(&self) -> JobRequest {
        JobRequest {
            reason: Some(self.reason.to_string()),
            job_id: Some(self.job_id.clone()),
            first_sequence: Some(self.first_sequence),
            last_sequence: Some(self.last_sequence),
            ..JobRequest::default()
        }
    }
}

impl Coverage {
    /// Returns this coverage with the pairs up to a sequence covered by a new intent, and the
    /// intent.
    pub(super) fn intend(&self, last_sequence: u64, reason: Reason) -> (Self, Intent) {
        let first_sequence = self.covered_sequence + 1;
        let job_id = JobId::for_pairs(first_sequence, last_sequence);
        let intent = Intent { job_id, first_sequence, last_sequence, reason };
        (Self { covered_sequence: last_sequence, intent: Some(intent.clone()), ..self.clone() }, intent)
    }
}

/// Store of the coverage.
#[derive(Debug, Clone)]
pub(super) struct CoverageStore {
    records: Records<Coverage>,
}

impl CoverageStore {
    pub(super) fn new(streams: &Streams) -> Self {
        Self { records: streams.state() }
    }

    /// Reads the coverage without creating it.
    pub(super) async fn read(&self) -> Result<Coverage, BrokerError> {
        Ok(self.records.load(KEY).await?.map(|(coverage, _)| coverage).unwrap_or_default())
    }

    /// Reads the coverage, creating it when no worker has done so before.
    pub(super) async fn load(&self) -> Result<(Coverage, Revision), BrokerError> {
        loop {
            if let Some(found) = self.records.load(KEY).await? {
                return Ok(found);
            }
            match self.records.create(KEY, &Coverage::default()).await {
                Ok(revision) => return Ok((Coverage::default(), revision)),
                // Another worker was first: read what it wrote.
                Err(BrokerError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Replaces the coverage unless another worker did so first; returns true when it was replaced.
    pub(super) async fn save(&self, coverage: &Coverage, revision: Revision) -> Result<bool, BrokerError> {
        match self.records.save(KEY, coverage, revision).await {
            Ok(_) => Ok(true),
            Err(BrokerError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Applies a change, retrying until no other worker changed the coverage in between.
    pub(super) async fn change(&self, change: impl Fn(&mut Coverage)) -> Result<(), BrokerError> {
        self.records
            .update(KEY, |stored| {
                let before = stored.cloned().unwrap_or_default();
                let mut coverage = before.clone();
                change(&mut coverage);
                (coverage != before).then_some(coverage)
            })
            .await
    }
}
