//! Rate limits: a bucket of requests for each action on each machine.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::refusal::Refusal;

/// An action that has a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Action {
    List,
    Get,
    Start,
    Stop,
    Suspend,
    Restart,
    Wait,
    Lease,
}

impl Action {
    /// Returns the requests a second and the burst.
    fn limit(self) -> (f64, f64) {
        if self == Self::Get { (5.0, 10.0) } else { (1.0, 3.0) }
    }
}

/// The buckets of one stand-in. There are as many as machines times actions at most.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<HashMap<(String, Action), (f64, Instant)>>);

impl Limits {
    /// Takes one request out of the bucket of `subject`, a machine or an app that exists.
    ///
    /// # Errors
    /// 429 when the bucket is empty.
    pub(super) fn take(&self, subject: &str, action: Action) -> Result<(), Refusal> {
        let (rate, burst) = action.limit();
        let now = Instant::now();
        // No code panics while it holds the lock.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = buckets.entry((subject.to_owned(), action)).or_insert((burst, now));
        *left = (*left + rate * now.duration_since(*since).as_secs_f64()).min(burst);
        *since = now;
        if *left < 1.0 {
            return Err(Refusal::rate_limited());
        }
        *left -= 1.0;
        Ok(())
    }
}
