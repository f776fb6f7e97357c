//! The decision on when a job is due, as a pure function of the known state.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Conditions under which a job starts by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerPolicy {
    /// Number of pairs that start a job at once. 0 counts as 1.
    pub threshold: u64,
    /// Longest wait of the oldest pair. After that, fewer pairs start a job.
    pub max_wait: Option<Duration>,
    /// Time without a new pair after which fewer pairs start a job.
    pub quiet: Option<Duration>,
    /// Shortest time between the end of the last run and a job that starts by itself.
    pub cooldown: Duration,
}

/// State that the decision depends on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TriggerState {
    /// Number of pairs that no run covers.
    pub pending: u64,
    /// Time at which the oldest of these pairs was stored.
    pub oldest_at: Option<Timestamp>,
    /// Time at which the newest of these pairs was stored.
    pub newest_at: Option<Timestamp>,
    /// Time at which the last run ended.
    pub last_run_ended_at: Option<Timestamp>,
    /// Number of runs that have failed since the last one that did not.
    pub failed_runs: u32,
    /// True while a job waits or runs.
    pub run_in_flight: bool,
}

/// Reason a job starts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase")]
pub enum Reason {
    /// There are enough pairs.
    Threshold,
    /// The oldest pair has waited long enough.
    #[strum(serialize = "max wait")]
    MaxWait,
    /// No pair has come for long enough.
    Quiet,
}

/// Decision about the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start a job.
    Fire(Reason),
    /// Do nothing before this instant, unless something changes.
    WaitUntil(Timestamp),
    /// Do nothing until something changes.
    Idle,
}

/// The next job that starts by itself if nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueJob {
    /// Time from which the job is due; in the past when it is due already.
    pub at: Timestamp,
    /// Reason the job starts.
    pub reason: Reason,
}

/// Pause after a run that failed; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_mins(15);
/// Longest pause after runs that failed.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// Time by which the clocks of the servers of a cluster may differ. A stored time that lies further
/// in the future is wrong.
const TOLERANCE: Duration = Duration::from_secs(60);

/// Returns true when a stored time lies in the future, by more than clocks in step may differ.
pub(super) fn is_after(stored: Timestamp, now: Timestamp) -> bool {
    stored > now.saturating_add(TOLERANCE).unwrap_or(Timestamp::MAX)
}

impl TriggerState {
    /// Returns this state without times of pairs that lie in the future: the broker's clock was
    /// ahead when it stored them. How long they wait is unknown, and counts as long enough, so that
    /// no wait lasts until that future.
    #[must_use]
    pub(super) fn bounded_by(self, now: Timestamp) -> Self {
        let bounded =
            |at: Option<Timestamp>| at.map(|at| if is_after(at, now) { Timestamp::UNIX_EPOCH } else { at });
        Self { oldest_at: bounded(self.oldest_at), newest_at: bounded(self.newest_at), ..self }
    }
}

/// Decides at `now` whether a job is due.
pub fn decide(policy: &TriggerPolicy, state: &TriggerState, now: Timestamp) -> Decision {
    match next_due(policy, state) {
        None => Decision::Idle,
        Some(DueJob { at, reason }) if at <= now => Decision::Fire(reason),
        Some(DueJob { at, .. }) => Decision::WaitUntil(at),
    }
}

/// Returns the next job that becomes due if nothing changes, or `None` while nothing waits or a job
/// is in flight.
pub fn next_due(policy: &TriggerPolicy, state: &TriggerState) -> Option<DueJob> {
    if state.pending == 0 || state.run_in_flight {
        return None;
    }
    let enough = state.pending >= policy.threshold;
    let due = [
        // Enough pairs are due at once: only the cooldown can delay them.
        (enough.then_some(Timestamp::MIN), Reason::Threshold),
        (instant(state.oldest_at, policy.max_wait), Reason::MaxWait),
        (instant(state.newest_at, policy.quiet), Reason::Quiet),
    ];
    let pause = policy.cooldown.max(pause_after(state.failed_runs));
    let not_before = instant(state.last_run_ended_at, Some(pause)).unwrap_or(Timestamp::MIN);
    // Among reasons that are due at the same instant, the first one in this list wins.
    due.into_iter()
        .filter_map(|(at, reason)| Some(DueJob { at: at?.max(not_before), reason }))
        .min_by_key(|due| due.at)
}

/// Returns the pause after a number of runs in a row that failed. What made them fail may last for days, and
/// each further run costs a machine's start and its training.
pub fn pause_after(failed_runs: u32) -> Duration {
    match failed_runs {
        0 => Duration::ZERO,
        failed => FIRST_PAUSE.saturating_mul(1 << (failed - 1).min(16)).min(LONGEST_PAUSE),
    }
}

fn instant(from: Option<Timestamp>, after: Option<Duration>) -> Option<Timestamp> {
    Some(from?.checked_add(after?).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seconds(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
        range.prop_map(Duration::from_secs)
    }

    fn policies() -> impl Strategy<Value = TriggerPolicy> {
        let wait = || prop::option::of(seconds(0..50));
        (0_u64..6, wait(), wait(), seconds(0..50)).prop_map(|(threshold, max_wait, quiet, cooldown)| {
            TriggerPolicy { threshold, max_wait, quiet, cooldown }
        })
    }

    fn states() -> impl Strategy<Value = TriggerState> {
        (0_u64..10, 0_i64..100, 0_i64..100, prop::option::of((0_i64..200).prop_map(at)), any::<bool>())
            .prop_map(|(pending, one, other, last_run_ended_at, run_in_flight)| TriggerState {
                failed_runs: 0,
                pending,
                oldest_at: (pending > 0).then(|| at(one.min(other))),
                newest_at: (pending > 0).then(|| at(one.max(other))),
                last_run_ended_at,
                run_in_flight,
            })
    }

    proptest! {
        #[test]
        fn it_fires_only_with_pairs_after_the_cooldown_and_never_into_a_run(
            policy in policies(), state in states(), now in 0_i64..400,
        ) {
            if let Decision::Fire(reason) = decide(&policy, &state, at(now)) {
                prop_assert!(state.pending > 0 && !state.run_in_flight);
                if let Some(ended) = state.last_run_ended_at {
                    prop_assert!(at(now) >= ended + policy.cooldown);
                }
                match reason {
                    Reason::Threshold => prop_assert!(state.pending >= policy.threshold),
                    Reason::MaxWait => prop_assert!(at(now) >= state.oldest_at.unwrap() + policy.max_wait.unwrap()),
                    Reason::Quiet => prop_assert!(at(now) >= state.newest_at.unwrap() + policy.quiet.unwrap()),
                }
            }
        }

        #[test]
        fn enough_pairs_fire_at_once(policy in policies(), mut state in states(), now in 0_i64..400) {
            state.pending = state.pending.max(policy.threshold).max(1);
            state.run_in_flight = false;
            state.last_run_ended_at = None;
            prop_assert!(matches!(decide(&policy, &state, at(now)), Decision::Fire(_)));
        }

        #[test]
        fn waiting_ends_exactly_at_the_instant_it_names(policy in policies(), state in states(), now in 0_i64..400) {
            if let Decision::WaitUntil(instant) = decide(&policy, &state, at(now)) {
                prop_assert!(instant > at(now));
                prop_assert!(matches!(decide(&policy, &state, instant), Decision::Fire(_)));
                let just_before = instant - Duration::from_nanos(1);
                prop_assert_eq!(decide(&policy, &state, just_before), Decision::WaitUntil(instant));
            }
        }

        #[test]
        fn once_due_it_stays_due(policy in policies(), state in states(), now in 0_i64..400, later in 0_i64..400) {
            if let Decision::Fire(_) = decide(&policy, &state, at(now)) {
                prop_assert!(matches!(decide(&policy, &state, at(now + later)), Decision::Fire(_)));
            }
        }
    }

    #[test]
    fn without_a_wait_too_few_pairs_wait_for_ever() {
        let policy = TriggerPolicy { threshold: 3, max_wait: None, quiet: None, cooldown: Duration::ZERO };
        let state = TriggerState {
            pending: 2,
            oldest_at: Some(at(0)),
            newest_at: Some(at(1)),
            ..TriggerState::default()
        };
        assert_eq!(decide(&policy, &state, Timestamp::MAX), Decision::Idle);
    }

    #[test]
    fn pauses_after_failed_runs_double_up_to_a_day_and_a_longer_cooldown_is_kept() {
        let minutes: Vec<u64> =
            (0..9).chain([u32::MAX]).map(|failed| pause_after(failed).as_secs() / 60).collect();
        assert_eq!(minutes, [0, 15, 30, 60, 120, 240, 480, 960, 1_440, 1_440]);
        let state = TriggerState {
            pending: 3,
            oldest_at: Some(at(0)),
            newest_at: Some(at(1)),
            last_run_ended_at: Some(at(2)),
            failed_runs: 2,
            ..TriggerState::default()
        };
        let due = |minutes: u64| {
            let cooldown = Duration::from_mins(minutes);
            let policy = TriggerPolicy { threshold: 3, max_wait: None, quiet: None, cooldown };
            next_due(&policy, &state).unwrap().at.as_second() - 2
        };
        assert_eq!((due(1), due(45)), (30 * 60, 45 * 60));
    }

    #[test]
    fn absurd_durations_never_come() {
        let policy = TriggerPolicy {
            threshold: 3,
            max_wait: Some(Duration::MAX),
            quiet: Some(Duration::MAX),
            cooldown: Duration::MAX,
        };
        let state = TriggerState {
            pending: 2,
            oldest_at: Some(at(0)),
            newest_at: Some(at(1)),
            ..TriggerState::default()
        };
        assert_eq!(decide(&policy, &state, at(5)), Decision::WaitUntil(Timestamp::MAX));
    }
}
