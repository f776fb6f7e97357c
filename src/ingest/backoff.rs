//! Wait before the next try.

use std::time::Duration;

use crate::failure::RetryDirective;
use crate::retry::Backoff;

/// Waits of the official clients, roughly: from one to ten seconds.
const TRANSIENT: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10)).with_jitter(1.0);
/// Longest wait between tries of something that a person must fix.
const PERSON_WAIT: Duration = Duration::from_secs(60);
/// Waits after the first such failure. A service may refuse a valid key while it restarts or
/// reloads its secrets.
const FIRST_WAIT: Backoff = Backoff::new(Duration::from_secs(1), PERSON_WAIT);
/// Waits after every further such failure.
const LATER_WAIT: Backoff = Backoff::new(PERSON_WAIT, PERSON_WAIT).with_jitter(0.25);

/// Returns the wait after the `attempt`th failure in a row (from 0); `random` is in `0.0..1.0`. The
/// wait that the server `asked` for, up to one minute, is a lower bound.
pub(super) fn delay(
    directive: RetryDirective,
    attempt: usize,
    asked: Option<Duration>,
    random: f64,
) -> Duration {
    let failures = u32::try_from(attempt).unwrap_or(u32::MAX).saturating_add(1);
    let jittered = match directive {
        RetryDirective::Retry => TRANSIENT.pause(failures, random),
        RetryDirective::Person | RetryDirective::Never if attempt == 0 => FIRST_WAIT.pause(failures, random),
        RetryDirective::Person | RetryDirective::Never => LATER_WAIT.pause(failures, random),
    };
    match asked {
        Some(asked) => asked.min(PERSON_WAIT) + jittered,
        None => jittered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_for_a_person_is_retried_once_soon() {
        let most = |attempt| delay(RetryDirective::Person, attempt, None, 1.0).as_secs();
        assert_eq!([most(0), most(1), most(99)], [1, 60, 60]);
        assert!(delay(RetryDirective::Person, 1, None, 0.0) >= Duration::from_secs(45));
    }

    #[test]
    fn waits_grow_to_ten_seconds_and_obey_the_server() {
        let most = |attempt| delay(RetryDirective::Retry, attempt, None, 1.0).as_secs();
        assert_eq!([most(0), most(1), most(2), most(3), most(99)], [1, 2, 4, 8, 10]);
        assert_eq!(delay(RetryDirective::Retry, 0, None, 0.0), Duration::ZERO);
        assert_eq!(
            delay(RetryDirective::Retry, 0, Some(Duration::from_secs(7)), 0.0),
            Duration::from_secs(7)
        );
    }
}
