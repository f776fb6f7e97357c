//! The trainer: takes one job after the other and settles each.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Remedy, chain};
use crate::queue::{Job, Jobs, QueueError};
use crate::trigger::Trigger;

use super::{JobError, Pipeline};

/// How often a job is tried when what failed may pass.
const ATTEMPTS: u64 = 5;
/// Pause before the second attempt; it doubles for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// Takes jobs until `cancel`. A job in hand is then stopped and handed back.
pub async fn work(jobs: &Jobs, pipeline: &Pipeline, trigger: &Trigger, cancel: &CancellationToken) {
    while let Some(job) = jobs.next(cancel).await {
        let id = job.id().clone();
        let attempt = job.deliveries();
        let result = pipeline.run(&job, cancel).await;
        if let Err(error) = settle(job, attempt, result, trigger).await {
            // The job is delivered again, finds its record, and is settled then.
            tracing::warn!(job = %id, error = chain(&error), "a job was not settled");
        }
    }
}

async fn settle(
    job: Job,
    attempt: u64,
    result: Result<super::Finished, JobError>,
    trigger: &Trigger,
) -> Result<(), QueueError> {
    match result {
        Ok(finished) => {
            tracing::info!(job = %job.id(), outcome = ?finished.outcome, "run ended");
            // First what the run covers, then the job: a crash between the two settles the job again.
            trigger.covered(finished.covered).await?;
            job.complete().await
        }
        Err(JobError::Stopping) => job.hand_back(Duration::ZERO).await,
        Err(error) if error.remedy() == Remedy::Retry && attempt < ATTEMPTS => {
            let pause = FIRST_PAUSE * 2_u32.pow(u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(6));
            tracing::warn!(job = %job.id(), attempt, again_in = ?pause, error = chain(&error), "a run is tried again");
            job.hand_back(pause).await
        }
        Err(error) => {
            let advice = error.advice();
            tracing::error!(job = %job.id(), attempt, error = chain(&error), advice, "a run failed");
            trigger.ended().await?;
            job.complete().await
        }
    }
}
