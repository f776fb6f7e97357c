//! The watchdog of a run: checks the run's record during the work, and stops the work when it must
//! not continue.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::broker::{BrokerError, RunRecord, Runs};
use crate::failure::chain;

use super::error::{Interruption, RunError};

/// Time between two checks of the record. A check is two small reads; a cancellation takes effect
/// within this time.
const PERIOD: Duration = Duration::from_secs(1);

/// Checks a run's record while a worker works on the run. The work stops when the worker stops,
/// when a person cancels the run, when another worker has taken up the run, and when this watchdog
/// is dropped.
pub(in crate::run) struct RunWatchdog {
    token: CancellationToken,
    reason: Arc<OnceLock<Interruption>>,
    _watching: AbortOnDropHandle<()>,
}

impl RunWatchdog {
    /// Starts to watch a run. `record` is the run's record as this worker took it up.
    pub(in crate::run) fn new(runs: Runs, record: &RunRecord, stop: &CancellationToken) -> Self {
        let (token, reason) = (stop.child_token(), Arc::new(OnceLock::new()));
        let watch =
            RecordWatch { runs, record: record.clone(), token: token.clone(), reason: Arc::clone(&reason) };
        Self { token, reason, _watching: AbortOnDropHandle::new(tokio::spawn(watch.run())) }
    }

    /// Returns a token that is cancelled when the work must stop.
    pub(in crate::run) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Returns the reason why the work must stop. Meaningful once the token is cancelled.
    pub(in crate::run) fn error(&self) -> RunError {
        self.reason.get().copied().unwrap_or(Interruption::Stopping).into()
    }

    /// Performs work that is abandoned as soon as it must stop.
    pub(in crate::run) async fn watch<T>(
        &self,
        work: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => Err(self.error()),
            done = work => done,
        }
    }

    /// Performs the work that makes a run's result visible. A cancellation comes too late for this
    /// work: if it stopped halfway, nobody would know whether it took effect.
    pub(in crate::run) async fn commit<T>(
        &self,
        work: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = self.token.cancelled() => {}
        }
        match self.reason.get() {
            Some(Interruption::Cancelled) => work.await,
            Some(Interruption::Overtaken | Interruption::Stopping) | None => Err(self.error()),
        }
    }

    /// Fails when the work must stop. Called between two pieces of work that can't be abandoned.
    pub(in crate::run) fn check(&self) -> Result<(), RunError> {
        if self.token.is_cancelled() { Err(self.error()) } else { Ok(()) }
    }
}

impl Drop for RunWatchdog {
    fn drop(&mut self) {
        // Work on another thread must not outlive the run it was done for.
        self.token.cancel();
    }
}

/// Task behind a watchdog.
struct RecordWatch {
    runs: Runs,
    record: RunRecord,
    token: CancellationToken,
    reason: Arc<OnceLock<Interruption>>,
}

impl RecordWatch {
    async fn run(self) {
        loop {
            match self.check_record().await {
                Ok(None) => {}
                Ok(Some(interruption)) => {
                    tracing::warn!(job = %self.record.id, ?interruption, "stopping work on a run");
                    let _ = self.reason.set(interruption);
                    self.token.cancel();
                    return;
                }
                Err(error) => {
                    tracing::warn!(job = %self.record.id, error = chain(&error), "a run's record can't be read");
                }
            }
            tokio::select! {
                () = self.token.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    async fn check_record(&self) -> Result<Option<Interruption>, BrokerError> {
        let (id, ours) = (&self.record.id, self.record.attempts);
        if let Some((record, _)) = self.runs.load(id).await?
            && record.attempts > ours
        {
            return Ok(Some(Interruption::Overtaken));
        }
        let requested = self.runs.is_cancel_requested(id, self.record.retries).await?;
        Ok(requested.then_some(Interruption::Cancelled))
    }
}
