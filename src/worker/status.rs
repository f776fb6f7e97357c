//! Status of the whole installation, as the status service and `autovalidate status` show it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::{BrokerError, JobId, QueuedRuns, RunRecord, trainer_is_up};
use crate::launcher::{StartRecord, TrainerStarter};
use crate::trigger::DueJob;

use super::BrokerHandles;
use crate::default_value::is_default;

/// Largest number of waiting runs that a status lists.
const MAX_QUEUED: usize = 100;
/// Largest size of the last run's record in a status, in bytes of JSON. The rest of the status has
/// less than 16 KiB.
const MAX_LAST_RUN: usize = 40 * 1024;

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
    /// Runs that wait, in the order in which they will be taken; at most 100.
    #[serde(default)]
    pub queued: Vec<JobId>,
    /// Number of further runs that wait.
    #[serde(default, skip_serializing_if = "is_default")]
    pub queued_more: usize,
    /// The last start of a trainer by a listener.
    #[serde(default)]
    pub trainer_start: Option<StartRecord>,
    /// Record of the last run that ended, without its largest figures.
    pub last_run: Option<RunRecord>,
    /// True when a trainer answers; `None` when no job is in progress. A job that is in progress
    /// without a trainer goes to the next one.
    #[serde(default)]
    pub trainer_up: Option<bool>,
    /// Settings of the worker that gives the status; `None` from an older version.
    #[serde(default)]
    pub settings: Option<StatusSettings>,
    /// Version of the worker.
    pub version: String,
}

/// Settings that a status shows. Times are in seconds; `None` is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusSettings {
    /// Project that the streams belong to, in words.
    #[serde(default)]
    pub project: Option<String>,
    /// Namespace of all names on NATS.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Number of copies of the streams.
    pub replicas: usize,
    /// Longest wait of the oldest pair.
    pub max_wait: Option<u64>,
    /// Time without a new pair after which fewer pairs start a run.
    pub quiet: Option<u64>,
    /// Shortest time between the end of a run and the next one that starts by itself.
    pub cooldown: u64,
}

impl StatusSettings {
    fn of(handles: &BrokerHandles) -> Self {
        let (streams, policy) = (&handles.streams, handles.trigger.policy());
        let seconds = |time: Duration| time.as_secs();
        Self {
            project: streams.owner(),
            namespace: streams.names().namespace().map(ToString::to_string),
            replicas: streams.replicas(),
            max_wait: policy.max_wait.map(seconds),
            quiet: policy.quiet.map(seconds),
            cooldown: policy.cooldown.as_secs(),
        }
    }
}

/// Time in which a trainer answers.
const TRAINER_ANSWERS: Duration = Duration::from_secs(1);

impl Status {
    /// Collects the status, which is one message of limited size. The number of reads depends on the
    /// queue, not on the runs there were.
    ///
    /// # Errors
    /// The errors of the queue.
    pub async fn collect(handles: &BrokerHandles) -> Result<Self, BrokerError> {
        let QueuedRuns { running, waiting: queued, more: queued_more } =
            handles.jobs.queued_runs(MAX_QUEUED).await?;
        let mut last_run = handles.runs.last_ended().await?;
        if let Some(run) = &mut last_run {
            run.fit(MAX_LAST_RUN);
        }
        let trainer_up = match &running {
            Some(_) => Some(trainer_is_up(&handles.streams, TRAINER_ANSWERS).await?),
            None => None,
        };
        Ok(Self {
            pending: handles.trigger.pending().await?,
            threshold: handles.trigger.policy().threshold,
            due: handles.trigger.next_due().await?,
            current_job: running,
            queued,
            queued_more,
            trainer_start: TrainerStarter::last_start(&handles.streams).await?,
            last_run,
            trainer_up,
            settings: Some(StatusSettings::of(handles)),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}
