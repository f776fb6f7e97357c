//! State that the trigger keeps across restarts, in the bucket `trainer_state` under the key
//! `trigger`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::{Reason, is_after};
use crate::broker::{BrokerError, JobId, JobRequest, Records, Revision, Streams};
use crate::default_value::is_default;

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
    /// Stream sequence up to which a run has learned from the pairs. Those of a failed run count again.
    #[serde(skip_serializing_if = "is_default")]
    pub learned_sequence: u64,
    /// Number of runs that have failed since the last one that did not.
    #[serde(skip_serializing_if = "is_default")]
    pub failed_runs: u32,
    /// Job of the last of these runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_job: Option<JobId>,
}

/// End of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// It learned from all pairs up to this stream sequence.
    Learned(u64),
    /// It failed. The first sequence is that of its pairs, if the trigger started it.
    Failed { job: JobId, first_sequence: Option<u64> },
    /// It learned nothing, as a person decided.
    Stopped,
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
    /// Returns this coverage with the end of the last run no later than the time at which the
    /// coverage was written, by the broker's clock. A worker whose clock was ahead would otherwise
    /// begin a cooldown in the future.
    #[must_use]
    pub(super) fn bounded_by(self, written_at: Timestamp) -> Self {
        Self { last_run_ended_at: self.last_run_ended_at.map(|ended| ended.min(written_at)), ..self }
    }

    /// Returns this coverage with the end of the last run at `now`, if it lies well after `now`: the
    /// broker's own clock was ahead and is right again. `None` if there is nothing to mend.
    #[must_use]
    pub(super) fn mended(&self, now: Timestamp) -> Option<Self> {
        let ended = self.last_run_ended_at.filter(|ended| is_after(*ended, now))?;
        tracing::warn!(%ended, %now, "the last run ended in the future; its cooldown begins now");
        Some(Self { last_run_ended_at: Some(now), ..self.clone() })
    }

    /// Records the end of a run. Recording it again changes nothing but the time.
    pub(super) fn end_run(&mut self, end: &RunEnd, now: Timestamp) {
        self.last_run_ended_at = self.last_run_ended_at.max(Some(now));
        match end {
            RunEnd::Learned(sequence) => {
                self.covered_sequence = self.covered_sequence.max(*sequence);
                self.learned_sequence = self.learned_sequence.max(*sequence);
                (self.failed_runs, self.failed_job) = (0, None);
            }
            RunEnd::Failed { job, .. } if self.failed_job.as_ref() == Some(job) => {}
            RunEnd::Failed { job, first_sequence } => {
                self.failed_runs = self.failed_runs.saturating_add(1);
                self.failed_job = Some(job.clone());
                let covered = first_sequence.map(|first| self.learned_sequence.max(first.saturating_sub(1)));
                self.covered_sequence = self.covered_sequence.min(covered.unwrap_or(u64::MAX));
            }
            RunEnd::Stopped => {}
        }
    }

    /// Returns this coverage with the pairs up to a sequence covered by a new intent, and the
    /// intent.
    pub(super) fn intend(&self, last_sequence: u64, reason: Reason) -> (Self, Intent) {
        let first_sequence = self.covered_sequence + 1;
        let job_id = JobId::for_pairs(first_sequence, last_sequence, self.failed_runs);
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
        Ok(self.stored().await?.map(|(coverage, _)| coverage).unwrap_or_default())
    }

    async fn stored(&self) -> Result<Option<(Coverage, Revision)>, BrokerError> {
        let stored = self.records.load_dated(KEY).await?;
        Ok(stored.map(|(coverage, revision, written_at)| (coverage.bounded_by(written_at), revision)))
    }

    /// Reads the coverage, creating it when no worker has done so before.
    pub(super) async fn load(&self) -> Result<(Coverage, Revision), BrokerError> {
        loop {
            if let Some(found) = self.stored().await? {
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
        loop {
            let (before, revision) = self.load().await?;
            let mut coverage = before.clone();
            change(&mut coverage);
            if coverage == before || self.save(&coverage, revision).await? {
                return Ok(());
            }
        }
    }
}
