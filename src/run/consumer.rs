//! The consumer of jobs: takes one job after the other, runs it, and settles it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tracing::field::Empty;

use crate::broker::{BrokerError, Job, Jobs, RunState};
use crate::failure::chain;
use crate::retry::Backoff;
use crate::trace_context::STATUS;
use crate::trigger::Trigger;

use super::pipeline::{AttemptEnding, Pipeline};

/// Backoff between attempts of a run: from ten seconds to about ten minutes.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(640));

/// Takes jobs off the queue and runs them.
pub struct JobConsumer {
    /// Queue of jobs.
    pub jobs: Jobs,
    /// Performs the run of a job.
    pub pipeline: Pipeline,
    /// Records which pairs a run has covered.
    pub trigger: Trigger,
}

impl JobConsumer {
    /// Takes jobs until `cancel` is cancelled. A job in progress is then stopped and handed back to
    /// the queue.
    pub async fn run(&self, cancel: &CancellationToken) {
        while let Some(job) = self.jobs.next(cancel).await {
            let id = job.id().clone();
            let span = tracing::info_span!("run", job = %id, otel.status_code = Empty);
            if let Some(trace) = job.trace() {
                trace.continue_in(&span);
            }
            let ending = Box::pin(self.pipeline.run(&job, cancel)).instrument(span.clone()).await;
            if matches!(ending, AttemptEnding::Closed(RunState::Failed)) {
                span.record(STATUS, "ERROR");
            }
            if let Err(error) = settle(job, ending, &self.trigger).await {
                // The job is delivered again, finds its record, and is settled then.
                tracing::warn!(job = %id, error = chain(&error), "a job was not settled");
            }
        }
    }
}

/// Reports the ending of an attempt to the trigger, then to the broker. After a crash between the
/// two, the broker delivers the job again, and it is settled then.
///
/// # Errors
/// [`BrokerError`]. The broker may then deliver the job again.
pub async fn settle(job: Job, ending: AttemptEnding, trigger: &Trigger) -> Result<(), BrokerError> {
    tracing::info!(job = %job.id(), ?ending, "work on a run ended");
    match ending {
        AttemptEnding::Finished(finished) => {
            trigger.covered(finished.covered).await?;
            job.complete().await
        }
        AttemptEnding::Closed(RunState::Failed) => {
            trigger.failed(job.id(), job.request()).await?;
            job.complete().await
        }
        AttemptEnding::Closed(_) => {
            trigger.ended().await?;
            job.complete().await
        }
        AttemptEnding::Retry { failures } => job.hand_back(pause(failures, rand::random())).await,
        // The job belongs to the other worker.
        AttemptEnding::Overtaken => Ok(()),
    }
}

/// Returns the pause before the next attempt, after this many failures; zero when the worker was
/// merely stopping.
fn pause(failures: u64, random: f64) -> Duration {
    match u32::try_from(failures).unwrap_or(u32::MAX) {
        0 => Duration::ZERO,
        failures => BACKOFF.pause(failures, random),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_stop_growing() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 7, 8, u64::MAX].map(|n| pause(n, 1.0).as_secs()).to_vec();
        assert_eq!(seconds, [0, 10, 20, 40, 640, 640, 640]);
    }
}
