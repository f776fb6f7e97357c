//! How long to wait before trying again.

use std::time::Duration;

use crate::failure::RetryDirective;

/// The official clients' steps; the last one repeats.
const STEPS: [u64; 4] = [1, 2, 5, 10];
/// Between tries of something that waits for a person.
const PATIENCE: Duration = Duration::from_secs(60);
/// Before the second try of it: a key that is refused once may be refused in passing, while the service restarts or
/// reads its secrets anew.
const DOUBT: Duration = Duration::from_secs(1);

/// The wait after the `attempt`th failure in a row (from 0), with full jitter: `random` is in `0.0..1.0`.
/// The server's own `asked` wait is a lower bound.
pub(super) fn delay(
    remedy: RetryDirective,
    attempt: usize,
    asked: Option<Duration>,
    random: f64,
) -> Duration {
    let step = STEPS.get(attempt).or(STEPS.last()).copied().unwrap_or_default();
    let jittered = match remedy {
        RetryDirective::Retry => Duration::from_secs(step).mul_f64(random),
        // Spread a little, so that workers that failed together don't come back together.
        RetryDirective::Person | RetryDirective::Never if attempt == 0 => DOUBT.mul_f64(0.5 + random / 2.0),
        RetryDirective::Person | RetryDirective::Never => PATIENCE.mul_f64(0.75 + random / 4.0),
    };
    match asked {
        Some(asked) => asked.min(PATIENCE) + jittered,
        None => jittered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_mend_is_doubted_once() {
        let most = |attempt| delay(RetryDirective::Person, attempt, None, 1.0).as_secs();
        assert_eq!([most(0), most(1), most(99)], [1, 60, 60]);
        assert!(delay(RetryDirective::Person, 1, None, 0.0) >= Duration::from_secs(45));
    }

    #[test]
    fn waits_grow_to_ten_seconds_and_obey_the_server() {
        let most = |attempt| delay(RetryDirective::Retry, attempt, None, 1.0).as_secs();
        assert_eq!([most(0), most(1), most(2), most(3), most(99)], [1, 2, 5, 10, 10]);
        assert_eq!(delay(RetryDirective::Retry, 0, None, 0.0), Duration::ZERO);
        assert_eq!(
            delay(RetryDirective::Retry, 0, Some(Duration::from_secs(7)), 0.0),
            Duration::from_secs(7)
        );
    }
}
