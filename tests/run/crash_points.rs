//! Crashes of a trainer at every await, from taking the job to settling it: each run makes exactly
//! one release.

use std::time::Duration;

use autovalidate::broker::{BrokerError, RunState};
use autovalidate::run::settle;
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::crash::{counted, crash_at};
use crate::support::run::RunHarness;
use crate::support::within;

/// Number of crashes per run. A run is given up after five failures, so with four it can still end.
const CRASHES_OF_A_RUN: u64 = 4;

/// Result of a series of crashes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrashSeries {
    /// Number of attempts that were crashed.
    pub(crate) crashes: u64,
    /// Number of requested runs.
    pub(crate) runs: u64,
    /// Number of runs without a release.
    pub(crate) lost: u64,
    /// Number of surplus releases, beyond one per run.
    pub(crate) doubled: u64,
    /// Number of pending awaits in the longest attempt that was not crashed.
    pub(crate) points: u64,
}

/// Takes one job and works on it, as a trainer with this data directory.
async fn attempt(harness: &RunHarness, disk: &str) -> Result<(), BrokerError> {
    let mut pipeline = harness.pipeline(&harness.data(disk));
    pipeline.plan.recipe.epochs = 1;
    let stop = CancellationToken::new();
    let Some(job) = harness.jobs.next(&stop).await else { return Ok(()) };
    let ending = Box::pin(pipeline.run(&job, &stop)).await;
    settle(job, ending, &harness.trigger).await
}

/// Resolves when the queue is empty. The last message of a crashed trainer may arrive late.
async fn settled(harness: &RunHarness) {
    let mut glance = tokio::time::interval(Duration::from_millis(300));
    let mut empty = 0;
    // The queue must be empty twice, so that a trainer that has just settled its job can finish.
    while empty < 2 {
        glance.tick().await;
        empty = if harness.jobs.outstanding().await.unwrap() == 0 { empty + 1 } else { 0 };
    }
}

/// Requests runs and crashes their trainers at one await after another, starting with `first` and
/// wrapping around, until there are enough crashes.
pub(crate) async fn crash_series(harness: &RunHarness, first: u64, crashes: u64) -> CrashSeries {
    let mut series = CrashSeries { points: 1, ..CrashSeries::default() };
    let mut point = first;
    while series.crashes < crashes {
        let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
        series.runs += 1;
        // The first run is not crashed; it counts the awaits.
        let mut left = if series.runs == 1 { 0 } else { CRASHES_OF_A_RUN };
        while harness.jobs.outstanding().await.unwrap() > 0 {
            // Two trainers take turns, so a trainer does not find the files of the previous attempt
            // on its disk.
            let disk = ["one", "other"][usize::from(point % 2 == 1)];
            let at = if left > 0 { point % series.points } else { u64::MAX };
            let attempted = within(DEADLINE, async {
                tokio::select! {
                    biased;
                    attempted = counted(crash_at(at, attempt(harness, disk))) => Some(attempted),
                    () = settled(harness) => None,
                }
            });
            match attempted.await {
                Some((None, _)) => series.crashes += 1,
                Some((Some(done), awaits)) => {
                    done.unwrap();
                    series.points = series.points.max(awaits);
                }
                None => {}
            }
            if left > 0 {
                (left, point) = (left - 1, point + 1);
            }
        }
        let record = harness.record(&id).await;
        let done = record.state == RunState::Done && record.artifact.is_some();
        series.lost += u64::from(!done);
        let releases = harness.releases().await.len() as u64;
        series.doubled = series.doubled.max(releases.saturating_sub(series.runs - series.lost));
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn crashes_at_any_await_of_a_trainer_end_in_one_release_a_run() {
        let harness = RunHarness::quick_to_redeliver().await;
        let series = crash_series(&harness, 11, 40).await;
        assert!(series.crashes >= 40 && series.points > 50, "{series:?}");
        assert_eq!((series.lost, series.doubled), (0, 0), "{series:?}");
        assert_eq!(harness.releases().await.len() as u64, series.runs);
    }
}
