//! Simulation of the trigger over time, without a broker: pairs come, runs end, and looks happen
//! late and on stale state.
//!
//! Tests only. A few lines stand in for the broker: it replaces a record only when nobody else did,
//! it stores a job id once, and it dates pairs and records by its own clock, which may be wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::coverage::{Coverage, RunEnd};
use super::policy::{Decision, Reason, TriggerPolicy, TriggerState, decide};
use crate::broker::JobId;

/// One step of the simulation.
#[derive(Debug, Clone)]
enum Action {
    /// This many pairs are stored.
    Pairs(u64),
    /// Time passes, in seconds. A look that falls due meanwhile happens when it is due.
    Passes(u64),
    /// The current run ends, having trained on its pairs or not. The trainer's clock is ahead of the
    /// broker's by this many seconds, and it doesn't know.
    Ends { covered: bool, ahead: i64 },
    /// The broker's clock is set to be ahead of the true time by this many seconds.
    ClockIsSet(i64),
    /// Every listener reads the state before any of them decides on it.
    LooksAtOnce,
}

/// A job that was started.
#[derive(Debug)]
struct Started {
    first: u64,
    last: u64,
    at: Timestamp,
    reason: Reason,
}

/// Simulated state, and the jobs that the test observed.
struct World {
    policy: TriggerPolicy,
    now: Timestamp,
    /// Seconds by which the broker's clock is ahead.
    ahead: i64,
    /// Time at which each pair was stored; a pair's sequence is its position, from 1.
    stored: Vec<Timestamp>,
    coverage: Coverage,
    /// Time at which the coverage was written.
    written_at: Timestamp,
    revision: u64,
    queue: BTreeSet<JobId>,
    started: Vec<Started>,
    ended_at: Option<Timestamp>,
}

impl World {
    fn new(policy: TriggerPolicy) -> Self {
        Self {
            policy,
            // No time of the broker is before 1970.
            now: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1_000),
            ahead: 0,
            stored: Vec::new(),
            coverage: Coverage::default(),
            written_at: Timestamp::UNIX_EPOCH,
            revision: 0,
            queue: BTreeSet::new(),
            started: Vec::new(),
            ended_at: None,
        }
    }

    /// Returns the time by the broker's clock.
    fn broker_now(&self) -> Timestamp {
        self.now + SignedDuration::from_secs(self.ahead)
    }

    fn save(&mut self, coverage: Coverage) {
        (self.coverage, self.revision, self.written_at) = (coverage, self.revision + 1, self.broker_now());
    }

    fn stored_coverage(&self) -> Coverage {
        self.coverage.clone().bounded_by(self.written_at)
    }

    /// Writes the coverage again if the broker's clock was ahead when it was written.
    fn mend(&mut self) {
        if let Some(mended) = self.stored_coverage().mended(self.broker_now()) {
            self.save(mended);
        }
    }

    fn state(&self) -> TriggerState {
        let coverage = self.stored_coverage();
        let new = &self.stored[usize::try_from(self.coverage.covered_sequence).unwrap()..];
        TriggerState {
            pending: new.len() as u64,
            oldest_at: new.first().copied(),
            newest_at: new.last().copied(),
            last_run_ended_at: coverage.last_run_ended_at,
            failed_runs: coverage.failed_runs,
            run_in_flight: !self.queue.is_empty(),
        }
        .bounded_by(self.broker_now())
    }

    /// Returns the state that a listener reads, to decide on it later.
    fn read(&self) -> (Coverage, u64, TriggerState, u64) {
        (self.stored_coverage(), self.revision, self.state(), self.stored.len() as u64)
    }

    fn act(&mut self, (coverage, revision, state, last): (Coverage, u64, TriggerState, u64)) -> Decision {
        let decision = decide(&self.policy, &state, self.broker_now());
        if let Decision::Fire(reason) = decision {
            let (intended, intent) = coverage.intend(last, reason);
            if revision == self.revision {
                self.save(intended);
                let (first, last) = (intent.first_sequence, intent.last_sequence);
                self.started.push(Started { first, last, at: self.now, reason });
                self.queue.insert(intent.job_id);
            }
        }
        decision
    }

    fn look(&mut self) -> Decision {
        self.mend();
        let read = self.read();
        self.act(read)
    }

    /// Advances the time. Listeners look at every notice, and at the instant that the last look
    /// named.
    fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Decision::WaitUntil(instant) = self.look()
            && let instant = instant.saturating_sub(SignedDuration::from_secs(self.ahead)).unwrap()
            && instant <= until
        {
            self.now = instant;
        }
        self.now = until;
        self.look();
    }

    fn apply(&mut self, step: &Action) {
        match step {
            Action::Pairs(count) => {
                let now = self.broker_now();
                self.stored.extend((0..*count).map(|_| now));
                self.look();
            }
            Action::Passes(seconds) => self.pass(*seconds),
            Action::ClockIsSet(ahead) => {
                self.ahead = *ahead;
                self.look();
            }
            Action::Ends { covered, ahead } => {
                if self.queue.pop_first().is_some() {
                    let last = self.started.last().map_or(0, |job| job.last);
                    let mut coverage = self.stored_coverage();
                    let ended_at = self.broker_now() + SignedDuration::from_secs(*ahead);
                    let end = if *covered { RunEnd::Learned(last) } else { RunEnd::Stopped };
                    coverage.end_run(&end, ended_at);
                    self.save(coverage);
                    self.ended_at = Some(self.now);
                }
                self.look();
            }
            Action::LooksAtOnce => {
                self.mend();
                let reads: Vec<_> = (0..3).map(|_| self.read()).collect();
                for read in reads {
                    self.act(read);
                }
            }
        }
    }
}

fn policies() -> impl Strategy<Value = TriggerPolicy> {
    let wait = || prop::option::of((1_u64..60).prop_map(Duration::from_secs));
    (1_u64..8, wait(), wait(), (0_u64..40).prop_map(Duration::from_secs)).prop_map(
        |(threshold, max_wait, quiet, cooldown)| TriggerPolicy { threshold, max_wait, quiet, cooldown },
    )
}

fn steps() -> impl Strategy<Value = Vec<Action>> {
    let one = prop_oneof![
        (1_u64..5).prop_map(Action::Pairs),
        (1_u64..45).prop_map(Action::Passes),
        any::<bool>().prop_map(|covered| Action::Ends { covered, ahead: 0 }),
        Just(Action::LooksAtOnce),
    ];
    prop::collection::vec(one, 1..60)
}

/// Returns steps during which clocks are wrong by up to eight hours.
fn skewed_steps() -> impl Strategy<Value = Vec<Action>> {
    let skew = || prop_oneof![Just(0), -100_i64..100, -30_000_i64..30_000];
    let one = prop_oneof![
        (1_u64..5).prop_map(Action::Pairs),
        (1_u64..45).prop_map(Action::Passes),
        (any::<bool>(), skew()).prop_map(|(covered, ahead)| Action::Ends { covered, ahead }),
        skew().prop_map(Action::ClockIsSet),
        Just(Action::LooksAtOnce),
    ];
    prop::collection::vec(one, 1..60)
}

#[test]
fn a_trainer_whose_clock_is_ahead_holds_no_job_back() {
    let cooldown = Duration::from_secs(1);
    for ahead in [50, 7 * 3600] {
        let policy = TriggerPolicy { threshold: 20, max_wait: None, quiet: None, cooldown };
        let mut world = World::new(policy);
        world.apply(&Action::Pairs(20));
        world.apply(&Action::Ends { covered: true, ahead });
        world.apply(&Action::Pairs(60));
        assert_eq!(world.started.len(), 1, "the cooldown has not passed");
        world.apply(&Action::Passes(1));
        assert_eq!(world.started.len(), 2, "{ahead} s ahead");
    }
}

proptest! {
    #[test]
    fn jobs_share_the_pairs_out_among_them_and_never_meet(policy in policies(), steps in steps()) {
        let mut world = World::new(policy.clone());
        let mut next = 1;
        for step in &steps {
            let (before, ended_at) = (world.started.len(), world.ended_at);
            let had_run = !world.queue.is_empty();
            world.apply(step);
            prop_assert!(world.queue.len() <= 1, "two jobs at once");
            for job in &world.started[before..] {
                // Each pair belongs to one job, and none is left out.
                prop_assert_eq!(job.first, next);
                prop_assert!(job.last >= job.first && job.last <= world.stored.len() as u64);
                next = job.last + 1;
                // Three listeners that looked at once have started one job.
                prop_assert!(world.started.len() - before == 1);
                let ends_now = matches!(step, Action::Ends { .. });
                prop_assert!(!had_run || ends_now, "a job started during a run");
                if let Some(ended_at) = if ends_now { world.ended_at } else { ended_at } {
                    prop_assert!(job.at >= ended_at + policy.cooldown, "sooner than the cool-down");
                }
                let pairs = &world.stored[(job.first - 1) as usize..job.last as usize];
                match job.reason {
                    Reason::Threshold => prop_assert!(pairs.len() as u64 >= policy.threshold),
                    Reason::MaxWait => prop_assert!(job.at >= pairs[0] + policy.max_wait.unwrap()),
                    Reason::Quiet => {
                        prop_assert!(job.at >= *pairs.last().unwrap() + policy.quiet.unwrap());
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_that_is_due_waits(policy in policies(), steps in steps()) {
        let mut world = World::new(policy.clone());
        for step in &steps {
            world.apply(step);
            let state = world.state();
            if state.run_in_flight || state.pending == 0 {
                continue;
            }
            let cooled = state.last_run_ended_at.is_none_or(|ended| world.now >= ended + policy.cooldown);
            let enough = state.pending >= policy.threshold;
            let waited = policy.max_wait.is_some_and(|wait| world.now >= state.oldest_at.unwrap() + wait);
            let quiet = policy.quiet.is_some_and(|quiet| world.now >= state.newest_at.unwrap() + quiet);
            prop_assert!(!(cooled && (enough || waited || quiet)), "due since before {}: {state:?}", world.now);
        }
    }

    /// However wrong the clocks are, jobs share the pairs out, and no job waits for longer than the
    /// policy says and clocks in step may differ.
    #[test]
    fn clocks_that_are_wrong_hold_no_job_back(policy in policies(), steps in skewed_steps()) {
        let mut world = World::new(policy.clone());
        let mut next = 1;
        for step in &steps {
            let before = world.started.len();
            world.apply(step);
            prop_assert!(world.queue.len() <= 1, "two jobs at once");
            for job in &world.started[before..] {
                prop_assert_eq!(job.first, next);
                next = job.last + 1;
            }
        }
        let wait = policy.max_wait.into_iter().chain(policy.quiet).min();
        let longest = policy.cooldown + wait.unwrap_or_default() + Duration::from_secs(121);
        world.apply(&Action::Passes(longest.as_secs()));
        let state = world.state();
        let waits = state.pending > 0 && !state.run_in_flight;
        prop_assert!(!waits || (state.pending < policy.threshold && wait.is_none()), "{state:?}");
    }

    /// A continuing burst keeps `quiet` from firing; once the burst ends, `quiet` fires once.
    #[test]
    fn quiet_fires_once_after_a_burst(gaps in prop::collection::vec(1_u64..10, 1..30)) {
        let quiet = Duration::from_secs(10);
        let policy = TriggerPolicy { threshold: 1_000, max_wait: None, quiet: Some(quiet), cooldown: Duration::ZERO };
        let mut world = World::new(policy);
        for gap in &gaps {
            world.apply(&Action::Pairs(1));
            world.apply(&Action::Passes(*gap));
            prop_assert!(world.started.is_empty(), "fired into a burst");
        }
        world.apply(&Action::Passes(100));
        prop_assert_eq!(world.started.len(), 1);
        prop_assert_eq!(world.started[0].last, gaps.len() as u64);
        prop_assert_eq!(world.started[0].at, *world.stored.last().unwrap() + quiet);
    }
}
