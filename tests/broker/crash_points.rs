//! Repeated crashes of the trigger at every await, against a real server: each N pairs start
//! exactly one job.
//!
//! `bench.rs` runs the same series for longer.

use std::collections::BTreeSet;
use std::sync::Arc;

use autovalidate::broker::{BrokerError, Clock, Events, JobSettings, Jobs, Runs, Streams, SystemClock};
use autovalidate::corrections::Corrections;
use autovalidate::trigger::{Trigger, TriggerPolicy};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use crate::support::crash::crash_at;

/// Number of pairs that start a job.
const PAIRS: i64 = 3;
/// Number of crash points to draw from; larger than the number of awaits in a look.
const POINTS: u64 = 24;

/// Result of a series of crashes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrashSeries {
    /// Number of looks that were crashed.
    pub(crate) crashes: u64,
    /// Number of sets of pairs that should start a job.
    pub(crate) rounds: u64,
    /// Number of sets that started no job.
    pub(crate) lost: u64,
    /// Number of surplus jobs, beyond one per set.
    pub(crate) doubled: u64,
}

fn policy() -> TriggerPolicy {
    let threshold = PAIRS.unsigned_abs();
    TriggerPolicy { threshold, max_wait: None, quiet: None, cooldown: std::time::Duration::ZERO }
}

/// Stores pairs, crashes looks at random awaits, singly or two at a time, then looks once without a
/// crash, and counts the jobs.
pub(crate) async fn crash_series(
    streams: &Streams,
    seed: u64,
    crashes: u64,
) -> Result<CrashSeries, BrokerError> {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let corrections = Corrections::open(streams, "pairs").await?;
    let events = Events::new(streams, Arc::new(SystemClock));
    let jobs = Jobs::open(streams, &events, JobSettings::default()).await?;
    let runs = Runs::new(streams);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let fresh = || Trigger::new(streams, &corrections, Arc::new(jobs.clone()), policy(), Arc::clone(&clock));
    let mut series = CrashSeries::default();
    let mut seen = BTreeSet::new();
    while series.crashes < crashes {
        let first = i64::try_from(series.rounds).unwrap_or_default() * PAIRS + 1;
        corrections.append(&crate::support::broker::rows(first..first + PAIRS)).await?;
        series.rounds += 1;
        for _ in 0..draw.random_range(1..12) {
            // Each look stands for a process that dies. Two at once stand for two listeners.
            let (one, other) = (fresh(), fresh());
            let (at, at_other) = (draw.random_range(0..POINTS), draw.random_range(0..POINTS));
            let (looked, looked_too) = match draw.random_bool(0.3) {
                true => tokio::join!(crash_at(at, one.look()), crash_at(at_other, other.look())),
                false => (crash_at(at, one.look()).await, Some(Ok(autovalidate::trigger::Decision::Idle))),
            };
            series.crashes += u64::from(looked.is_none()) + u64::from(looked_too.is_none());
        }
        fresh().look().await?;
        // A message from before a crash may still be in flight, and only a stored job can be taken.
        let waiting = jobs.outstanding().await?;
        series.lost += u64::from(waiting == 0);
        series.doubled += waiting.saturating_sub(1);
        for _ in 0..waiting {
            let Some(job) = jobs.next(&CancellationToken::new()).await else { break };
            series.doubled += u64::from(!seen.insert(job.id().clone()));
            job.complete().await?;
        }
    }
    // Late messages must start nothing, and every job must have its record.
    fresh().look().await?;
    series.doubled += jobs.outstanding().await?;
    let recorded: BTreeSet<_> = runs.list().await?.into_iter().map(|run| run.id).collect();
    series.lost += seen.difference(&recorded).count() as u64;
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::within;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread")]
    async fn crashes_at_any_await_of_the_trigger_lose_and_double_nothing() {
        let bench = crate::support::broker::TestBroker::new().await;
        let series = within(Duration::from_secs(100), crash_series(&bench.streams, 7, 300)).await.unwrap();
        assert!(series.crashes >= 300 && series.rounds >= 10, "{series:?}");
        assert_eq!((series.lost, series.doubled), (0, 0), "{series:?}");
    }
}
