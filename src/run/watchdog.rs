//! Watches over a run that is worked on: ends the work when it must not go on.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::broker::{QueueError, RunRecord, Runs};
use crate::failure::chain;

use crate::run::error::RunError;

/// How often the record is looked at. Two small reads; a cancellation takes effect after this at the latest.
const PERIOD: Duration = Duration::from_secs(1);

/// Why work must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interruption {
    Cancelled,
    Overtaken,
}

/// Looks at a run's record while it is worked on. The work ends when the worker stops, when a person cancels the run,
/// when another worker has taken it up, and when this is dropped.
pub(in crate::run) struct RunWatchdog {
    token: CancellationToken,
    reason: Arc<OnceLock<Interruption>>,
    _watching: AbortOnDropHandle<()>,
}

impl RunWatchdog {
    /// Begins to watch over a run, as its record was when it was taken up.
    pub(in crate::run) fn new(runs: Runs, record: &RunRecord, stop: &CancellationToken) -> Self {
        let (token, reason) = (stop.child_token(), Arc::new(OnceLock::new()));
        let watch = Watch { runs, record: record.clone(), token: token.clone(), reason: Arc::clone(&reason) };
        Self { token, reason, _watching: AbortOnDropHandle::new(tokio::spawn(watch.run())) }
    }

    /// Cancelled when the work must end.
    pub(in crate::run) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Why the work must end, once it must.
    pub(in crate::run) fn error(&self) -> RunError {
        match self.reason.get() {
            None => RunError::Stopping,
            Some(Interruption::Cancelled) => RunError::Cancelled,
            Some(Interruption::Overtaken) => RunError::Overtaken,
        }
    }

    /// Does work that is given up at once when it must end.
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

    /// Does the work that makes a run's result visible. A cancellation comes too late for it: stopped halfway, nobody
    /// would know whether it took effect.
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
            Some(Interruption::Overtaken) | None => Err(self.error()),
        }
    }

    /// Between two pieces of work that can't be given up.
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

struct Watch {
    runs: Runs,
    record: RunRecord,
    token: CancellationToken,
    reason: Arc<OnceLock<Interruption>>,
}

impl Watch {
    async fn run(self) {
        loop {
            match self.look().await {
                Ok(None) => {}
                Ok(Some(interruption)) => {
                    tracing::warn!(job = %self.record.id, ?interruption, "work on a run ends");
                    let _ = self.reason.set(interruption);
                    self.token.cancel();
                    return;
                }
                Err(error) => {
                    tracing::warn!(job = %self.record.id, error = chain(&error), "a run can't be watched over");
                }
            }
            tokio::select! {
                () = self.token.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    async fn look(&self) -> Result<Option<Interruption>, QueueError> {
        let (id, ours) = (&self.record.id, self.record.attempts);
        if let Some((record, _)) = self.runs.load(id).await?
            && record.attempts > ours
        {
            return Ok(Some(Interruption::Overtaken));
        }
        let wished = self.runs.is_cancel_requested(id, self.record.retries).await?;
        Ok(wished.then_some(Interruption::Cancelled))
    }
}
