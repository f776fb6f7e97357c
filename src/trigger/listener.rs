//! Watches for pairs, decides, fires.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::coverage::{Intent, Memory};
use super::policy::{Decision, State, TriggerPolicy, decide};
use crate::broker::{Clock, JobId, JobRequest, Jobs, QueueError, Runs, Streams};
use crate::corrections::Corrections;
use crate::failure::chain;

/// Notices can get lost with a connection; so often the trigger looks without one.
const UNASKED_LOOK: Duration = Duration::from_secs(30);
/// The pauses between tries while the broker is in trouble.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where jobs are put. [`Jobs`] is the one; tests put a faulty one in its place.
pub trait JobQueue: Debug + Send + Sync + 'static {
    /// Adds a request; one with a job id is kept once.
    fn enqueue<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<JobId, QueueError>>;

    /// How many requests wait or are worked on.
    fn outstanding(&self) -> BoxFuture<'_, Result<u64, QueueError>>;
}

impl JobQueue for Jobs {
    fn enqueue<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<JobId, QueueError>> {
        Self::enqueue(self, request).boxed()
    }

    fn outstanding(&self) -> BoxFuture<'_, Result<u64, QueueError>> {
        Self::outstanding(self).boxed()
    }
}

/// Starts jobs by itself. Clones share one; any number of them, on any number of machines, start one job for
/// the same pairs.
#[derive(Debug, Clone)]
pub struct Trigger {
    streams: Streams,
    corrections: Corrections,
    jobs: Arc<dyn JobQueue>,
    runs: Runs,
    memory: Memory,
    policy: TriggerPolicy,
    clock: Arc<dyn Clock>,
    woken: Arc<Notify>,
}

impl Trigger {
    /// A trigger over these pairs that puts jobs into this queue.
    pub fn new(
        streams: &Streams,
        corrections: &Corrections,
        jobs: Arc<dyn JobQueue>,
        policy: TriggerPolicy,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            streams: streams.clone(),
            corrections: corrections.clone(),
            jobs,
            runs: Runs::new(streams),
            memory: Memory::new(streams),
            policy,
            clock,
            woken: Arc::default(),
        }
    }

    /// The policy it follows.
    pub fn policy(&self) -> &TriggerPolicy {
        &self.policy
    }

    /// How many pairs no run covers.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::Unreadable`].
    pub async fn pending(&self) -> Result<u64, QueueError> {
        let (coverage, _) = self.memory.load().await?;
        self.corrections.count_after(coverage.covered_sequence).await
    }

    /// A run that trained on all pairs up to a stream sequence has ended: they count no longer, and the
    /// cooldown begins. Safe to repeat. Call it before the job is completed.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::Unreadable`].
    pub async fn covered(&self, sequence: u64) -> Result<(), QueueError> {
        self.run_ended(Some(sequence)).await
    }

    /// A run has ended that trained on nothing (refused, failed, cancelled): the cooldown begins, pairs that
    /// no other job covers go on counting.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::Unreadable`].
    pub async fn ended(&self) -> Result<(), QueueError> {
        self.run_ended(None).await
    }

    async fn run_ended(&self, sequence: Option<u64>) -> Result<(), QueueError> {
        let now = self.clock.now();
        self.memory
            .change(|coverage| {
                coverage.covered_sequence = coverage.covered_sequence.max(sequence.unwrap_or_default());
                coverage.last_run_ended_at = coverage.last_run_ended_at.max(Some(now));
            })
            .await?;
        self.woken.notify_one();
        Ok(())
    }

    /// One look: publishes a job that was decided before, then decides, and fires if it is time to.
    ///
    /// # Errors
    /// Those of the queue; the next look takes up whatever was left half done.
    pub async fn look(&self) -> Result<Decision, QueueError> {
        loop {
            let (coverage, revision) = self.memory.load().await?;
            if let Some(intent) = &coverage.intent {
                self.publish(intent).await?;
                continue;
            }
            let arrivals = self.corrections.arrivals_after(coverage.covered_sequence).await?;
            if arrivals.last_sequence < coverage.covered_sequence {
                tracing::warn!("the stream of pairs lost messages; the trigger counts from its end");
                let mut shorter = coverage;
                shorter.covered_sequence = arrivals.last_sequence;
                self.memory.save(&shorter, revision).await?;
                continue;
            }
            let state = State {
                pending: arrivals.count,
                oldest_at: arrivals.oldest_at,
                newest_at: arrivals.newest_at,
                last_run_ended_at: coverage.last_run_ended_at,
                run_in_flight: self.jobs.outstanding().await? > 0,
            };
            let decision = decide(&self.policy, &state, self.clock.now());
            let Decision::Fire(reason) = decision else { return Ok(decision) };
            let (intended, intent) = coverage.intend(arrivals.last_sequence, reason);
            // Another worker that was faster has covered the same pairs: look again.
            if self.memory.save(&intended, revision).await? {
                tracing::info!(job = %intent.job_id, pairs = arrivals.count, %reason, "trigger fires");
                self.publish(&intent).await?;
                return Ok(decision);
            }
        }
    }

    /// Publishes an intended job and clears the intent. Doing both twice, or next to another worker, is harmless.
    async fn publish(&self, intent: &Intent) -> Result<(), QueueError> {
        // The broker forgets ids after its window; the run record, once there, is for ever.
        if self.runs.load(&intent.job_id).await?.is_none() {
            self.jobs.enqueue(&intent.request()).await?;
        }
        self.memory
            .change(|coverage| {
                if coverage.intent.as_ref() == Some(intent) {
                    coverage.intent = None;
                }
            })
            .await
    }

    /// Fires whenever it is time to, until cancelled. Trouble with the broker is logged and waited out.
    pub async fn run(&self, cancel: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut connects = self.streams.connection().connects();
        while !cancel.is_cancelled() {
            let watched = tokio::select! {
                () = cancel.cancelled() => return,
                // Notices and answers are lost with their connection: watch anew, which begins with a look.
                Ok(()) = connects.changed() => continue,
                watched = self.watch(&mut pause) => watched,
            };
            if let Err(error) = watched {
                tracing::warn!(error = chain(&error), again_in = ?pause, "the trigger can't look");
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Looks at every notice. Safe to drop at any point: whatever was begun is found by the next look.
    async fn watch(&self, pause: &mut Duration) -> Result<(), QueueError> {
        // Registered before the first look, so that nothing falls between.
        let mut notices = self.notices().await?;
        loop {
            let decision = self.look().await?;
            *pause = FIRST_PAUSE;
            let due = match decision {
                Decision::WaitUntil(instant) => self.clock.sleep_until(instant),
                Decision::Fire(_) | Decision::Idle => std::future::pending().boxed(),
            };
            tokio::select! {
                () = due => {}
                () = self.woken.notified() => {}
                () = tokio::time::sleep(UNASKED_LOOK) => {}
                notice = notices.next() => match notice {
                    Some(notice) => notice?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Yields when pairs were stored or a job was settled.
    async fn notices(&self) -> Result<Notices, QueueError> {
        let stored = self.corrections.arrivals().await?.boxed();
        let settled = self.streams.settlements().await?.map(Ok).boxed();
        Ok(futures::stream::select(stored, settled).boxed())
    }
}

type Notices = BoxStream<'static, Result<(), QueueError>>;
