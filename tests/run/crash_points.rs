//! A trainer crashed at every await of its work, from taking the job to settling it: one release for each run.

use std::time::Duration;

use autovalidate::broker::{QueueError, RunState};
use autovalidate::run::settle;
use tokio_util::sync::CancellationToken;

use super::site::{SOON, Site};
use crate::support::crash::{counted, crash_at};
use crate::support::within;

/// A run is given up after five failures: so many crashes let it end.
const CRASHES_OF_A_RUN: u64 = 4;

/// What a storm of crashes came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Storm {
    /// Attempts that were crashed.
    pub(crate) crashes: u64,
    /// Runs that were asked for.
    pub(crate) runs: u64,
    /// Runs without a release.
    pub(crate) lost: u64,
    /// Releases beyond one for a run.
    pub(crate) doubled: u64,
    /// Awaits of the longest attempt that was not crashed.
    pub(crate) points: u64,
}

/// What a trainer does with one job, by a trainer whose disk has this name.
async fn attempt(site: &Site, disk: &str) -> Result<(), QueueError> {
    let mut pipeline = site.pipeline(&site.data(disk));
    pipeline.plan.recipe.epochs = 1;
    let stop = CancellationToken::new();
    let Some(job) = site.jobs.next(&stop).await else { return Ok(()) };
    let ending = Box::pin(pipeline.run(&job, &stop)).await;
    settle(job, ending, &site.trigger).await
}

/// Resolves when nothing is left to take: what a crashed trainer had sent last may have arrived only now.
async fn settled(site: &Site) {
    let mut glance = tokio::time::interval(Duration::from_millis(300));
    let mut empty = 0;
    // Twice, so that a trainer that has just settled its job gets to its end.
    while empty < 2 {
        glance.tick().await;
        empty = if site.jobs.outstanding().await.unwrap() == 0 { empty + 1 } else { 0 };
    }
}

/// Asks for runs and crashes the trainers that work on them, at one await after the other, from `first` on and round
/// again, until there were enough crashes.
pub(crate) async fn storm(site: &Site, first: u64, crashes: u64) -> Storm {
    let mut storm = Storm { points: 1, ..Storm::default() };
    let mut point = first;
    while storm.crashes < crashes {
        let id = within(SOON, site.jobs.enqueue(&Site::forced())).await.unwrap();
        storm.runs += 1;
        // The first run of all tells how many awaits there are.
        let mut left = if storm.runs == 1 { 0 } else { CRASHES_OF_A_RUN };
        while site.jobs.outstanding().await.unwrap() > 0 {
            // Trainers in turn: every other one finds nothing of what the one before left on its disk.
            let disk = ["one", "other"][usize::from(point % 2 == 1)];
            let at = if left > 0 { point % storm.points } else { u64::MAX };
            let attempted = within(SOON, async {
                tokio::select! {
                    biased;
                    attempted = counted(crash_at(at, attempt(site, disk))) => Some(attempted),
                    () = settled(site) => None,
                }
            });
            match attempted.await {
                Some((None, _)) => storm.crashes += 1,
                Some((Some(done), awaits)) => {
                    done.unwrap();
                    storm.points = storm.points.max(awaits);
                }
                None => {}
            }
            if left > 0 {
                (left, point) = (left - 1, point + 1);
            }
        }
        let record = site.record(&id).await;
        let done = record.state == RunState::Done && record.artifact.is_some();
        storm.lost += u64::from(!done);
        let releases = site.releases().await.len() as u64;
        storm.doubled = storm.doubled.max(releases.saturating_sub(storm.runs - storm.lost));
    }
    storm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn crashes_at_any_await_of_a_trainer_end_in_one_release_a_run() {
        let site = Site::quick_to_redeliver().await;
        let storm = storm(&site, 11, 40).await;
        assert!(storm.crashes >= 40 && storm.points > 50, "{storm:?}");
        assert_eq!((storm.lost, storm.doubled), (0, 0), "{storm:?}");
        assert_eq!(site.releases().await.len() as u64, storm.runs);
    }
}
