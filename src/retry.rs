//! Growing pauses with jitter between tries: the only backoff of the program. And the pause that a
//! server asks for.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// A schedule of pauses: the first one, doubled for each further failure up to the longest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    /// Share of each pause that is random, so that workers that failed together do not retry
    /// together.
    jitter: f64,
}

impl Backoff {
    /// Creates a schedule whose pauses are between half and all of their bound.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, jitter: 0.5 }
    }

    /// Sets the share of each pause that is random, from 0 to 1; 1 is full jitter.
    #[must_use]
    pub const fn with_jitter(self, jitter: f64) -> Self {
        Self { jitter, ..self }
    }

    /// Returns the longest pause after this many failures in a row, counted from 1.
    pub fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// Returns the pause after this many failures in a row, counted from 1. `random` is in
    /// `0.0..1.0`.
    pub fn pause(&self, failures: u32, random: f64) -> Duration {
        self.bound(failures).mul_f64(1.0 - self.jitter + self.jitter * random)
    }

    /// Begins to count the failures of one loop.
    pub fn start(self) -> Failures {
        Failures { backoff: self, count: 0 }
    }
}

/// The failures in a row of one loop.
#[derive(Debug)]
pub struct Failures {
    backoff: Backoff,
    count: u32,
}

impl Failures {
    /// Counts a failure and returns the pause before the next try. `random` is in `0.0..1.0`.
    pub fn next_pause(&mut self, random: f64) -> Duration {
        self.count = self.count.saturating_add(1);
        self.backoff.pause(self.count, random)
    }

    /// Forgets the failures: something succeeded.
    pub fn reset(&mut self) {
        self.count = 0;
    }
}

/// Longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);

/// Returns the pause that an HTTP answer asks for, up to an hour: `Retry-After` in seconds. The header's
/// other form, a date, is ignored: the backoff applies then.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECONDS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));

    #[test]
    fn pauses_double_up_to_the_longest() {
        let bounds: Vec<u64> = [1, 2, 3, 4, 5, u32::MAX].map(|n| SECONDS.bound(n).as_secs()).to_vec();
        assert_eq!(bounds, [1, 2, 4, 8, 10, 10]);
        let mut failures = SECONDS.start();
        assert_eq!([failures.next_pause(1.0), failures.next_pause(1.0)].map(|pause| pause.as_secs()), [1, 2]);
        failures.reset();
        assert_eq!(failures.next_pause(1.0).as_secs(), 1);
    }

    #[test]
    fn full_jitter_may_not_wait_at_all_and_none_always_waits_as_long() {
        assert_eq!(SECONDS.with_jitter(1.0).pause(3, 0.0), Duration::ZERO);
        assert_eq!(SECONDS.with_jitter(0.0).pause(3, 0.0), Duration::from_secs(4));
    }

    #[test]
    fn a_server_asks_for_an_hour_at_most() {
        let asked = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("18446744073709551615"), Some(LONGEST_ASKED));
        assert_eq!([asked("-1"), asked("1e9"), asked("tomorrow")], [None; 3]);
    }

    proptest! {
        #[test]
        fn a_pause_is_within_half_and_all_of_its_bound(failures: u32, random in 0.0..1.0) {
            let (pause, bound) = (SECONDS.pause(failures, random), SECONDS.bound(failures));
            prop_assert!(pause * 2 >= bound && pause <= bound);
        }
    }
}
