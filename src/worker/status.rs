//! Status of the whole installation, as the status service and `autovalidate status` show it.

use serde::{Deserialize, Serialize};

use crate::broker::{BrokerError, JobId, RunRecord, RunState};
use crate::launcher::{StartRecord, TrainerStarter};
use crate::trigger::DueJob;

use super::BrokerHandles;

/// Status of the whole installation: what waits, what runs, and what is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Number of pairs that wait for the next run.
    pub pending: u64,
    /// Number of pairs that start a run.
    pub threshold: u64,
    /// The next run that starts by itself if nothing changes.
    #[serde(default)]
    pub due: Option<DueJob>,
    /// Job in progress.
    pub current_job: Option<JobId>,
    /// Runs that wait, in the order in which they will be taken.
    #[serde(default)]
    pub queued: Vec<JobId>,
    /// The last start of a trainer by a listener.
    #[serde(default)]
    pub trainer_start: Option<StartRecord>,
    /// Record of the last run that ended.
    pub last_run: Option<RunRecord>,
    /// Version of the worker.
    pub version: String,
}

impl Status {
    /// Collects the status. Reads the record of every run.
    ///
    /// # Errors
    /// The errors of the queue.
    pub async fn collect(handles: &BrokerHandles) -> Result<Self, BrokerError> {
        let runs = handles.runs.list().await?;
        let running = runs.iter().find(|run| run.state == RunState::Running).map(|run| run.id.clone());
        let queued = runs.iter().rev().filter(|run| run.state == RunState::Queued);
        let queued = queued.map(|run| run.id.clone()).collect();
        Ok(Self {
            pending: handles.trigger.pending().await?,
            threshold: handles.trigger.policy().threshold,
            due: handles.trigger.next_due().await?,
            current_job: running,
            queued,
            trainer_start: TrainerStarter::last_start(&handles.streams).await?,
            last_run: runs.into_iter().filter(|run| run.state.is_final()).max_by_key(|run| run.ended_at),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}
