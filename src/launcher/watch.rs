//! The task that looks at the queue and starts trainers.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::claim::{Claim, StartRecord, claim};
use super::error::LaunchError;
use super::metrics::{StartMetrics, StartResult};
use super::{Launch, Launcher};
use crate::broker::{
    BrokerError, Clock, JobId, Jobs, RecordedError, Records, Streams, keep_watching, trainer_is_up,
};
use crate::failure::{Failure, chain};

/// Key of the record in the bucket of state that survives a restart.
const KEY: &str = "trainer_start";

/// Longest time between two looks while a job waits or runs.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// Time in which a trainer answers, before the first start for a job.
const ANSWER: Duration = Duration::from_secs(1);
/// Factor on this time before a start for the same job is repeated. A trainer whose machine is short
/// of processor time answers late.
const PATIENCE_BEFORE_REPEAT: u32 = 10;

/// Result of a look.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// No job waits or runs.
    NoJob,
    /// A trainer is up.
    TrainerUp,
    /// A start for this job is on its way, or was tried a short time ago. Nobody starts another
    /// trainer for it before this time.
    Waiting(JobId, Timestamp),
    /// This look has started a trainer for this job.
    Started(JobId, Launch),
    /// The start for this job failed. It is tried again at this time.
    Failed(JobId, Timestamp),
}

/// Starter of trainers: looks at the queue, and starts a trainer when a job waits and none is up.
#[derive(Debug, Clone)]
pub struct TrainerStarter {
    streams: Streams,
    jobs: Jobs,
    starts: Records<StartRecord>,
    launcher: Arc<dyn Launcher>,
    clock: Arc<dyn Clock>,
    answer: Duration,
    woken: Arc<Notify>,
    metrics: StartMetrics,
}

impl TrainerStarter {
    /// Creates a starter for the jobs of this queue.
    pub fn new(streams: &Streams, jobs: &Jobs, launcher: Arc<dyn Launcher>, clock: Arc<dyn Clock>) -> Self {
        Self {
            streams: streams.clone(),
            jobs: jobs.clone(),
            starts: streams.state(),
            launcher,
            clock,
            answer: ANSWER,
            woken: Arc::default(),
            metrics: StartMetrics::default(),
        }
    }

    /// Sets the time in which a trainer that is up answers.
    #[must_use]
    pub fn with_answer_time(self, answer: Duration) -> Self {
        Self { answer, ..self }
    }

    /// Returns the numbers for `/metrics`.
    pub fn metrics(&self) -> StartMetrics {
        self.metrics.clone()
    }

    /// Reads the record of the last start from these streams.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn last_start(streams: &Streams) -> Result<Option<StartRecord>, BrokerError> {
        Ok(streams.state::<StartRecord>().load(KEY).await?.map(|(record, _)| record))
    }

    /// Makes the running task look again soon.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Looks once, and starts a trainer when a job waits, none is up, and nobody else is starting
    /// one.
    ///
    /// # Errors
    /// The errors of the broker. A failed start is not an error: it is recorded, and tried again.
    pub async fn look(&self) -> Result<Look, BrokerError> {
        let Some((job, request)) = self.jobs.first_outstanding().await? else { return Ok(Look::NoJob) };
        self.clock.refresh().await?;
        let now = self.clock.now();
        let stored = self
            .starts
            .load_dated(KEY)
            .await?
            .map(|(record, revision, written_at)| (record.bounded_by(written_at, now), revision));
        let last = stored.as_ref().map(|(record, _)| record);
        let claimed = match claim(last, (&job, request), now) {
            Claim::Start(record) => record,
            Claim::Wait(until) => {
                let awaited = last.is_some_and(StartRecord::awaits_trainer);
                if awaited && trainer_is_up(&self.streams, self.answer).await? {
                    return self.saw_trainer(&job, request).await;
                }
                return Ok(Look::Waiting(job, until));
            }
        };
        let patience = if claimed.starts > 0 { PATIENCE_BEFORE_REPEAT } else { 1 };
        if trainer_is_up(&self.streams, self.answer * patience).await? {
            return Ok(Look::TrainerUp);
        }
        let written = match &stored {
            Some((_, revision)) => self.starts.save(KEY, &claimed, *revision).await,
            None => self.starts.create(KEY, &claimed).await,
        };
        match written {
            Ok(_) => {}
            // Another listener was first, and starts the trainer.
            Err(BrokerError::Conflict { .. } | BrokerError::Exists { .. }) => {
                return Ok(Look::Waiting(job, claimed.not_before));
            }
            Err(error) => return Err(error),
        }
        let result = self.launcher.launch(&job).await;
        self.record(claimed, result).await
    }

    /// Records that the trainer of a start has come up.
    async fn saw_trainer(&self, job: &JobId, request: u64) -> Result<Look, BrokerError> {
        let seen = |stored: Option<&StartRecord>| {
            let record = stored.filter(|record| record.is_for(job, request) && record.awaits_trainer())?;
            Some(record.clone().seen_up())
        };
        self.starts.update(KEY, seen).await?;
        Ok(Look::TrainerUp)
    }

    /// Records the outcome of a start.
    async fn record(
        &self,
        claimed: StartRecord,
        result: Result<Launch, LaunchError>,
    ) -> Result<Look, BrokerError> {
        self.metrics.count(StartResult::of(&result));
        let (job, now) = (claimed.job.clone(), self.clock.now());
        let (record, look) = match result {
            Ok(launch) => {
                let (Launch::Started(trainer) | Launch::Up(trainer)) = &launch;
                tracing::info!(%job, trainer, "a trainer is starting");
                (claimed.started(trainer.clone(), now), Look::Started(job, launch))
            }
            Err(error) => {
                let recorded = RecordedError::new(&error);
                let record = claimed.failed(recorded, error.retry_after(), now, rand::random());
                tracing::warn!(
                    %job,
                    error = chain(&error),
                    advice = error.advice(),
                    again_at = %record.not_before,
                    "no trainer was started; the job stays queued"
                );
                let again_at = record.not_before;
                (record, Look::Failed(job, again_at))
            }
        };
        self.starts.update(KEY, |_| Some(record.clone())).await?;
        Ok(look)
    }

    /// Starts trainers whenever jobs wait, until cancelled. Logs errors of the broker and retries.
    pub async fn run(&self, cancel: &CancellationToken) {
        let trouble = "the queue can't be checked for waiting jobs";
        // Each watch begins with a look.
        keep_watching(self.streams.connection(), cancel, trouble, || Box::pin(self.watch())).await;
    }

    async fn watch(&self) -> Result<(), BrokerError> {
        // Subscribed before the first look, so that no job is missed in between.
        let mut notices = self.streams.queue_changes().await?.boxed();
        loop {
            let looked = Box::pin(self.look()).await?;
            let due = match looked {
                Look::Waiting(_, at) | Look::Failed(_, at) => Some(at),
                Look::NoJob | Look::TrainerUp | Look::Started(..) => None,
            };
            let due = async {
                match due {
                    Some(at) => self.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.woken.notified() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                notice = notices.next() => match notice {
                    Some(()) => {}
                    None => return Ok(()),
                },
            }
        }
    }
}
