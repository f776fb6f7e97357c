//! The task that watches for pairs, decides, and starts jobs.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::coverage::{Coverage, CoverageStore, Intent, RunEnd};
use super::policy::{Decision, DueJob, TriggerPolicy, TriggerState, decide, next_due};
use crate::broker::{BrokerError, Clock, JobId, JobRequest, Jobs, Runs, Streams, keep_watching};
use crate::corrections::Corrections;

/// Longest time between two looks, since a notice can get lost with its connection.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Queue that jobs are put into. [`Jobs`] implements it; tests put a faulty one in its place.
pub trait JobQueue: Debug + Send + Sync + 'static {
    /// Adds a request; a request with a job id is stored once.
    fn enqueue<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<JobId, BrokerError>>;

    /// Returns the number of requests that wait or are in progress.
    fn outstanding(&self) -> BoxFuture<'_, Result<u64, BrokerError>>;
}

impl JobQueue for Jobs {
    fn enqueue<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<JobId, BrokerError>> {
        Self::enqueue(self, request).boxed()
    }

    fn outstanding(&self) -> BoxFuture<'_, Result<u64, BrokerError>> {
        Self::outstanding(self).boxed()
    }
}

/// Everything that says when the next job starts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Time of this outlook, by the broker's clock.
    pub now: Timestamp,
    /// State that the decision depends on.
    pub state: TriggerState,
    /// Job that becomes due if nothing changes.
    pub due: Option<DueJob>,
}

/// Automatic start of jobs. Clones share one state. Any number of triggers, on any number of
/// machines, start one job for the same pairs.
#[derive(Debug, Clone)]
pub struct Trigger {
    streams: Streams,
    corrections: Corrections,
    jobs: Arc<dyn JobQueue>,
    runs: Runs,
    coverage_store: CoverageStore,
    policy: TriggerPolicy,
    clock: Arc<dyn Clock>,
    woken: Arc<Notify>,
}

impl Trigger {
    /// Creates a trigger that counts these pairs and puts jobs into this queue.
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
            coverage_store: CoverageStore::new(streams),
            policy,
            clock,
            woken: Arc::default(),
        }
    }

    /// Returns the policy that the trigger follows.
    pub fn policy(&self) -> &TriggerPolicy {
        &self.policy
    }

    /// Returns the number of pairs that no run covers.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn pending(&self) -> Result<u64, BrokerError> {
        let coverage = self.coverage_store.read().await?;
        self.corrections.count_after(coverage.covered_sequence).await
    }

    /// Returns the next job that becomes due if nothing changes. Starts nothing.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn next_due(&self) -> Result<Option<DueJob>, BrokerError> {
        Ok(self.outlook().await?.due)
    }

    /// Returns the state that the next decision depends on, and the job that becomes due if nothing
    /// changes. Starts nothing.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn outlook(&self) -> Result<Outlook, BrokerError> {
        self.clock.refresh().await?;
        let now = self.clock.now();
        let coverage = self.coverage_store.read().await?;
        let coverage = coverage.mended(now).unwrap_or(coverage);
        let (state, _) = self.state(&coverage).await?;
        Ok(Outlook { now, state, due: next_due(&self.policy, &state) })
    }

    /// Makes the running trigger look again soon.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Returns the state that the policy decides on, and the stream sequence of the last pair.
    async fn state(&self, coverage: &Coverage) -> Result<(TriggerState, u64), BrokerError> {
        let arrivals = self.corrections.arrivals_after(coverage.covered_sequence).await?;
        let state = TriggerState {
            pending: arrivals.count,
            oldest_at: arrivals.oldest_at,
            newest_at: arrivals.newest_at,
            last_run_ended_at: coverage.last_run_ended_at,
            failed_runs: coverage.failed_runs,
            run_in_flight: self.jobs.outstanding().await? > 0,
        };
        Ok((state.bounded_by(self.clock.now()), arrivals.last_sequence))
    }

    /// Records the end of a run that trained on all pairs up to a stream sequence: these pairs stop
    /// counting, and the cooldown begins. Safe to repeat. Call it before the job is completed.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn covered(&self, sequence: u64) -> Result<(), BrokerError> {
        self.run_ended(RunEnd::Learned(sequence)).await
    }

    /// Records the end of a run that a person stopped: the cooldown begins, and pairs that no other job
    /// covers keep counting.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn ended(&self) -> Result<(), BrokerError> {
        self.run_ended(RunEnd::Stopped).await
    }

    /// Records the end of a run that failed: its pairs count again, after a pause that doubles with each
    /// failed run in a row. Safe to repeat.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn failed(&self, job: &JobId, request: &JobRequest) -> Result<(), BrokerError> {
        let first_sequence = request.first_sequence;
        self.run_ended(RunEnd::Failed { job: job.clone(), first_sequence }).await
    }

    async fn run_ended(&self, end: RunEnd) -> Result<(), BrokerError> {
        self.clock.refresh().await?;
        let now = self.clock.now();
        self.coverage_store.change(|coverage| coverage.end_run(&end, now)).await?;
        self.wake();
        Ok(())
    }

    /// Looks once: publishes a job that was decided before, then decides, and starts a job when one
    /// is due.
    ///
    /// # Errors
    /// The errors of the queue; the next look finishes whatever was left half done.
    pub async fn look(&self) -> Result<Decision, BrokerError> {
        loop {
            self.clock.refresh().await?;
            let (coverage, revision) = self.coverage_store.load().await?;
            if let Some(mended) = coverage.mended(self.clock.now()) {
                self.coverage_store.save(&mended, revision).await?;
                continue;
            }
            if let Some(intent) = &coverage.intent {
                self.publish(intent).await?;
                continue;
            }
            let (state, last_sequence) = self.state(&coverage).await?;
            if last_sequence < coverage.covered_sequence {
                tracing::warn!("the stream of pairs lost messages; the trigger counts from its end");
                let mut shorter = coverage;
                shorter.covered_sequence = last_sequence;
                self.coverage_store.save(&shorter, revision).await?;
                continue;
            }
            let decision = decide(&self.policy, &state, self.clock.now());
            let Decision::Fire(reason) = decision else { return Ok(decision) };
            let (mut intended, mut intent) = coverage.intend(last_sequence, reason);
            if let Some(job_id) = self.id_made_anew(&intent).await? {
                intent.job_id = job_id;
                intended.intent = Some(intent.clone());
            }
            // When the save fails, another worker has covered the same pairs: look again.
            if self.coverage_store.save(&intended, revision).await? {
                tracing::info!(job = %intent.job_id, pairs = state.pending, %reason, "trigger fires");
                self.publish(&intent).await?;
                return Ok(decision);
            }
        }
    }

    /// Returns another id for a job whose id a run on an earlier stream has: a stream of pairs that
    /// was deleted and made anew repeats the sequences, while the run records stay.
    async fn id_made_anew(&self, intent: &Intent) -> Result<Option<JobId>, BrokerError> {
        let Some((record, _)) = self.runs.load(&intent.job_id).await? else { return Ok(None) };
        let created_at = self.streams.corrections_created_at().await?;
        let is_older = record.created_at < created_at;
        let (first, last) = (intent.first_sequence, intent.last_sequence);
        Ok(is_older.then(|| JobId::for_pairs_anew(created_at, first, last)))
    }

    /// Publishes an intended job and clears the intent. Repeating either step, or racing another
    /// worker, is harmless.
    async fn publish(&self, intent: &Intent) -> Result<(), BrokerError> {
        // The broker forgets ids after its duplicate window; the run record, once there, is
        // permanent.
        if self.runs.load(&intent.job_id).await?.is_none() {
            self.jobs.enqueue(&intent.request()).await?;
        }
        self.coverage_store
            .change(|coverage| {
                if coverage.intent.as_ref() == Some(intent) {
                    coverage.intent = None;
                }
            })
            .await
    }

    /// Starts jobs whenever they are due, until cancelled. Logs errors of the broker and retries.
    pub async fn run(&self, cancel: &CancellationToken) {
        let trouble = "the trigger can't check for due jobs";
        // Each watch begins with a look.
        keep_watching(self.streams.connection(), cancel, trouble, || self.watch()).await;
    }

    /// Looks at every notice. Safe to drop at any point: the next look finds whatever was begun.
    async fn watch(&self) -> Result<(), BrokerError> {
        // Registered before the first look, so that no notice is missed in between.
        let mut notices = self.notices().await?;
        loop {
            let decision = self.look().await?;
            let due = match decision {
                Decision::WaitUntil(instant) => self.clock.sleep_until(instant),
                Decision::Fire(_) | Decision::Idle => std::future::pending().boxed(),
            };
            tokio::select! {
                () = due => {}
                () = self.woken.notified() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                notice = notices.next() => match notice {
                    Some(notice) => notice?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Returns a stream that yields when pairs were stored or a job was settled.
    async fn notices(&self) -> Result<Notices, BrokerError> {
        let stored = self.corrections.arrivals().await?.boxed();
        let settled = self.streams.settlements().await?.map(Ok).boxed();
        Ok(futures::stream::select(stored, settled).boxed())
    }
}

type Notices = BoxStream<'static, Result<(), BrokerError>>;
