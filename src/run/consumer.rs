//! The trainer: takes one job after the other and settles each.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::{Job, Jobs, QueueError};
use crate::failure::chain;
use crate::trigger::Trigger;

use crate::run::pipeline::{AttemptEnding, Pipeline};

/// Pause before the second attempt; it doubles for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause is this many times doubled: about ten minutes.
const DOUBLINGS: u32 = 6;

/// Takes jobs until `cancel`. A job in hand is then stopped and handed back.
pub async fn work(jobs: &Jobs, pipeline: &Pipeline, trigger: &Trigger, cancel: &CancellationToken) {
    while let Some(job) = jobs.next(cancel).await {
        let id = job.id().clone();
        let ending = Box::pin(pipeline.run(&job, cancel)).await;
        if let Err(error) = settle(job, ending, trigger).await {
            // The job is delivered again, finds its record, and is settled then.
            tracing::warn!(job = %id, error = chain(&error), "a job was not settled");
        }
    }
}

/// Tells trigger and broker how an attempt ended, in this order: a crash between the two settles the job again.
///
/// # Errors
/// Those of the queue; the job may then be delivered again, and is settled then.
pub async fn settle(job: Job, ending: AttemptEnding, trigger: &Trigger) -> Result<(), QueueError> {
    tracing::info!(job = %job.id(), ?ending, "work on a run ended");
    match ending {
        AttemptEnding::Finished(finished) => {
            trigger.covered(finished.covered).await?;
            job.complete().await
        }
        AttemptEnding::Closed(_) => {
            trigger.ended().await?;
            job.complete().await
        }
        AttemptEnding::Again { failures } => job.hand_back(pause(failures)).await,
        // Not ours to settle any more.
        AttemptEnding::Overtaken => Ok(()),
    }
}

/// How long a run rests after so many failures.
fn pause(failures: u64) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => FIRST_PAUSE * 2_u32.pow(u32::try_from(failures - 1).unwrap_or(DOUBLINGS).min(DOUBLINGS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_stop_growing() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 7, 8, u64::MAX].map(|n| pause(n).as_secs()).to_vec();
        assert_eq!(seconds, [0, 10, 20, 40, 640, 640, 640]);
    }
}
