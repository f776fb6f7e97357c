//! The trigger crashed at every await, over and over, against a real server: one job for each N pairs.
//!
//! `benches/queue.rs` includes this file and goes on for longer.

use std::collections::BTreeSet;
use std::sync::Arc;

use autovalidate::broker::{Clock, Events, JobSettings, Jobs, QueueError, Runs, Streams, SystemClock};
use autovalidate::corrections::Corrections;
use autovalidate::trigger::{Trigger, TriggerPolicy};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use crate::support::crash::crash_at;

/// Pairs that start a job.
const PAIRS: i64 = 3;
/// More awaits than a look has.
const POINTS: u64 = 24;

/// What a storm of crashes came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Storm {
    /// Looks that were crashed.
    pub(crate) crashes: u64,
    /// Sets of pairs that were to start a job.
    pub(crate) rounds: u64,
    /// Sets that started none.
    pub(crate) lost: u64,
    /// Jobs beyond one for a set.
    pub(crate) doubled: u64,
}

fn policy() -> TriggerPolicy {
    let threshold = PAIRS.unsigned_abs();
    TriggerPolicy { threshold, max_wait: None, quiet: None, cooldown: std::time::Duration::ZERO }
}

/// Stores pairs, crashes looks at the drawn awaits, alone or two at a time, then looks once in peace, and counts jobs.
pub(crate) async fn storm(streams: &Streams, seed: u64, crashes: u64) -> Result<Storm, QueueError> {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let corrections = Corrections::open(streams, "pairs").await?;
    let events = Events::new(streams, Arc::new(SystemClock));
    let jobs = Jobs::open(streams, &events, JobSettings::default()).await?;
    let runs = Runs::new(streams);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let fresh = || Trigger::new(streams, &corrections, Arc::new(jobs.clone()), policy(), Arc::clone(&clock));
    let mut storm = Storm::default();
    let mut seen = BTreeSet::new();
    while storm.crashes < crashes {
        let first = i64::try_from(storm.rounds).unwrap_or_default() * PAIRS + 1;
        corrections.append(&super::setup::rows(first..first + PAIRS)).await?;
        storm.rounds += 1;
        for _ in 0..draw.random_range(1..12) {
            // Each look is a process of its own that dies; two at once are two listeners.
            let (one, other) = (fresh(), fresh());
            let (at, at_other) = (draw.random_range(0..POINTS), draw.random_range(0..POINTS));
            let (looked, looked_too) = match draw.random_bool(0.3) {
                true => tokio::join!(crash_at(at, one.look()), crash_at(at_other, other.look())),
                false => (crash_at(at, one.look()).await, Some(Ok(autovalidate::trigger::Decision::Idle))),
            };
            storm.crashes += u64::from(looked.is_none()) + u64::from(looked_too.is_none());
        }
        fresh().look().await?;
        // What was sent before a crash may still be on its way; a job is taken only when it is there.
        let waiting = jobs.outstanding().await?;
        storm.lost += u64::from(waiting == 0);
        storm.doubled += waiting.saturating_sub(1);
        for _ in 0..waiting {
            let Some(job) = jobs.next(&CancellationToken::new()).await else { break };
            storm.doubled += u64::from(!seen.insert(job.id().clone()));
            job.complete().await?;
        }
    }
    // Whatever came late came to nothing, and every job has the one record it needs.
    fresh().look().await?;
    storm.doubled += jobs.outstanding().await?;
    let recorded: BTreeSet<_> = runs.list().await?.into_iter().map(|run| run.id).collect();
    storm.lost += seen.difference(&recorded).count() as u64;
    Ok(storm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::within;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread")]
    async fn crashes_at_any_await_of_the_trigger_lose_and_double_nothing() {
        let bench = super::super::setup::Bench::new().await;
        let storm = within(Duration::from_secs(100), storm(&bench.streams, 7, 300)).await.unwrap();
        assert!(storm.crashes >= 300 && storm.rounds >= 10, "{storm:?}");
        assert_eq!((storm.lost, storm.doubled), (0, 0), "{storm:?}");
    }
}
