//! Record of the last start of a trainer, and the claim on the next one.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::broker::{JobId, RecordedError};
use crate::retry::Backoff;

/// Time that a start may take. A listener that died during a start holds its claim this long.
const CLAIM: Duration = Duration::from_secs(180);
/// Pauses between starts that succeeded for the same job, although no trainer came up. Without
/// jitter: they are long, and only one listener holds the claim.
const REPEATS: Backoff = Backoff::new(Duration::from_secs(120), Duration::from_secs(3600)).with_jitter(0.0);
/// Pauses between starts for the same job when the trainer came up and is gone again.
const REPEATS_AFTER_UP: Backoff =
    Backoff::new(Duration::from_secs(15), Duration::from_secs(3600)).with_jitter(0.0);
/// Pauses between tries of a start that fails.
const FAILURES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));

/// State of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StartState {
    /// A listener is starting a trainer.
    Starting,
    /// A trainer was started, or was found to be up.
    Started,
    /// The start failed; it is tried again.
    Failed,
}

/// The last start of a trainer, in the bucket `trainer_state` under the key `trainer_start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRecord {
    /// Job that waits for the trainer.
    pub job: JobId,
    /// Sequence of the job's request on its stream. A retry of the same run is another request.
    #[serde(default)]
    pub request: u64,
    /// True when a trainer was up after the start.
    #[serde(default)]
    pub came_up: bool,
    /// State of the start.
    pub state: StartState,
    /// Time of the last change.
    pub at: Timestamp,
    /// Time before which no listener starts another trainer for this job.
    pub not_before: Timestamp,
    /// Number of starts for this job that succeeded.
    #[serde(default)]
    pub starts: u32,
    /// Number of failures since the last success.
    #[serde(default)]
    pub failures: u32,
    /// Name of the machine that was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainer: Option<String>,
    /// Error of the last try, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordedError>,
}

/// Decision about a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// Write this record, then start a trainer.
    Start(StartRecord),
    /// Do not start a trainer for this job before then.
    Wait(Timestamp),
}

/// Decides at `now` about a start for the job whose request has this sequence.
pub(super) fn claim(stored: Option<&StartRecord>, (job, request): (&JobId, u64), now: Timestamp) -> Claim {
    let (starts, failures) = match stored {
        Some(stored) if stored.is_for(job, request) => {
            if now < stored.not_before {
                return Claim::Wait(stored.not_before);
            }
            (stored.starts, stored.failures)
        }
        Some(_) | None => (0, 0),
    };
    Claim::Start(StartRecord {
        job: job.clone(),
        request,
        came_up: false,
        state: StartState::Starting,
        at: now,
        not_before: later(now, CLAIM),
        starts,
        failures,
        trainer: None,
        error: None,
    })
}

impl StartRecord {
    /// Returns this record with its times no later than they can be: `at` no later than `written_at`,
    /// the time at which the record was written by the broker's clock, and than `now`. The time of
    /// the next start keeps its distance. A listener whose clock was ahead would otherwise keep all
    /// others from a start until then.
    #[must_use]
    pub(super) fn bounded_by(self, written_at: Timestamp, now: Timestamp) -> Self {
        let at = self.at.min(written_at).min(now);
        let ahead = self.at.duration_since(at);
        Self { at, not_before: self.not_before.saturating_sub(ahead).unwrap_or(at), ..self }
    }

    /// Returns true when the start was made for this request.
    pub(super) fn is_for(&self, job: &JobId, request: u64) -> bool {
        self.job == *job && self.request == request
    }

    /// Returns true when the start succeeded, and no trainer was seen since.
    pub(super) fn awaits_trainer(&self) -> bool {
        self.state == StartState::Started && !self.came_up
    }

    /// Returns the record after a trainer was seen. When that trainer is gone again, the next one
    /// need not wait for its start.
    pub(super) fn seen_up(self) -> Self {
        let not_before = later(self.at, REPEATS_AFTER_UP.bound(self.starts)).min(self.not_before);
        Self { came_up: true, not_before, ..self }
    }

    /// Returns the record after the start succeeded.
    pub(super) fn started(self, trainer: String, now: Timestamp) -> Self {
        let starts = self.starts.saturating_add(1);
        Self {
            state: StartState::Started,
            at: now,
            not_before: later(now, REPEATS.bound(starts)),
            starts,
            failures: 0,
            trainer: Some(trainer),
            error: None,
            ..self
        }
    }

    /// Returns the record after the start failed. `asked` is the pause that the service asks for;
    /// `random` is in `0.0..1.0`.
    pub(super) fn failed(
        self,
        error: RecordedError,
        asked: Option<Duration>,
        now: Timestamp,
        random: f64,
    ) -> Self {
        let failures = self.failures.saturating_add(1);
        let pause = FAILURES.pause(failures, random).max(asked.unwrap_or_default());
        Self {
            state: StartState::Failed,
            at: now,
            not_before: later(now, pause),
            failures,
            trainer: None,
            error: Some(error),
            ..self
        }
    }
}

fn later(now: Timestamp, pause: Duration) -> Timestamp {
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::failure::RetryDirective;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn error() -> RecordedError {
        RecordedError { message: "no".into(), advice: "wait".into(), remedy: RetryDirective::Retry }
    }

    fn start(stored: Option<&StartRecord>, job: u64, second: i64) -> StartRecord {
        match claim(stored, (&JobId::manual(job), job), at(second)) {
            Claim::Start(record) => record,
            Claim::Wait(until) => panic!("waits until {until}"),
        }
    }

    #[test]
    fn a_claim_holds_until_the_start_ends_and_a_dead_listeners_claim_runs_out() {
        let claimed = start(None, 1, 100);
        assert_eq!(claim(Some(&claimed), (&JobId::manual(1), 1), at(101)), Claim::Wait(at(280)));
        assert_eq!(start(Some(&claimed), 1, 280).starts, 0);
    }

    #[test]
    fn the_next_job_gets_its_start_at_once() {
        let started = start(None, 1, 100).started("m1".into(), at(103));
        assert_eq!(start(Some(&started), 2, 103).starts, 0);
        // So does a retry of the same run.
        assert!(matches!(claim(Some(&started), (&JobId::manual(1), 9), at(103)), Claim::Start(_)));
    }

    #[test]
    fn a_trainer_that_came_up_and_died_is_replaced_sooner_than_one_that_never_came() {
        let started = start(None, 1, 100).started("m1".into(), at(103));
        let wait = |record: &StartRecord, now| claim(Some(record), (&JobId::manual(1), 1), at(now));
        assert_eq!(wait(&started, 104), Claim::Wait(at(223)));
        let seen = started.seen_up();
        assert_eq!(wait(&seen, 104), Claim::Wait(at(118)));
        assert!(matches!(wait(&seen, 118), Claim::Start(_)));
    }

    #[test]
    fn a_clock_that_was_ahead_holds_no_start_back() {
        let hours = 7 * 3600;
        let ahead = start(None, 1, 100 + hours).started("m1".into(), at(103 + hours));
        let wait = |record: &StartRecord, now| claim(Some(record), (&JobId::manual(1), 1), at(now));
        assert_eq!(wait(&ahead, 104), Claim::Wait(at(223 + hours)));
        assert_eq!(wait(&ahead.clone().bounded_by(at(103), at(104)), 104), Claim::Wait(at(223)));
        // The broker's own clock was ahead.
        assert_eq!(wait(&ahead.clone().bounded_by(at(103 + hours), at(104)), 104), Claim::Wait(at(224)));
        let right = start(None, 1, 100).started("m1".into(), at(103));
        assert_eq!(right.clone().bounded_by(at(103), at(500)), right);
    }

    proptest! {
        #[test]
        fn pauses_grow_with_failures_and_follow_the_service(failures in 0_u32..40, random in 0.0..1.0, asked in prop::option::of(0_u64..900)) {
            let record = StartRecord { failures, ..start(None, 1, 0) };
            let asked = asked.map(Duration::from_secs);
            let failed = record.failed(error(), asked, at(0), random);
            let pause = Duration::try_from(failed.not_before.duration_since(at(0))).unwrap();
            prop_assert!(pause >= asked.unwrap_or_default());
            prop_assert!(pause <= Duration::from_secs(300).max(asked.unwrap_or_default()));
            prop_assert!(pause * 2 >= FAILURES.bound(failures + 1));
            prop_assert_eq!(failed.failures, failures + 1);
        }

        #[test]
        fn a_start_that_succeeds_again_and_again_becomes_rare(starts in 0_u32..40) {
            let record = StartRecord { starts, ..start(None, 1, 0) };
            let started = record.started("m1".into(), at(0));
            let pause = Duration::try_from(started.not_before.duration_since(at(0))).unwrap();
            prop_assert!(pause >= Duration::from_secs(120) && pause <= Duration::from_secs(3600));
        }
    }
}
