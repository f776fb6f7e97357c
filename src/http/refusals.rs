//! Log of refused calls, which has a bound: anybody can make calls that are refused.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ingest::webhook::WebhookError;

/// Time in which at most one refused call is logged.
const EVERY: Duration = Duration::from_secs(60);

/// Log of refused calls: the first at once, then their number, at most once a minute.
#[derive(Debug, Default)]
pub struct RefusalLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    /// Number of refused calls since the last record.
    since: u64,
}

impl RefusalLog {
    /// Counts a refused call, and logs it unless one was logged within the last minute.
    pub(super) fn tell(&self, error: &WebhookError) {
        match self.due(Instant::now()) {
            Some(0) => tracing::warn!(%error, "hook refused"),
            Some(others) => tracing::warn!(%error, others, "hooks refused"),
            None => {}
        }
    }

    /// Returns the number of calls that went unlogged before this one; `None` when this one does, too.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.told.is_some_and(|told| now.duration_since(told) < EVERY) {
            state.since += 1;
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_refused_calls_are_a_record_a_minute() {
        let (log, start) = (RefusalLog::default(), Instant::now());
        assert_eq!(log.due(start), Some(0));
        let logged = (0..10_000).filter(|call| log.due(start + Duration::from_millis(*call)).is_some());
        assert_eq!(logged.count(), 0);
        assert_eq!(log.due(start + EVERY), Some(10_000));
        assert_eq!(log.due(start + 2 * EVERY), Some(0));
    }
}
