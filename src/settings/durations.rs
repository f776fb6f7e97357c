//! Allowed ranges of the settings that are durations: one table, for the reader and its messages.
//!
//! The program adds these times to clocks, divides them, and waits for them. A nanosecond would be a
//! loop without a pause, and a thousand years a time that no clock has.

use std::fmt;
use std::time::Duration;

/// Range of the allowed durations of one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DurationRange {
    /// Name of the setting.
    pub(super) setting: &'static str,
    shortest: Duration,
    longest: Duration,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

pub(super) const SWEEP_EVERY: DurationRange = range("SWEEP_EVERY", SECOND, DAY);
pub(super) const NATS_SYNC: DurationRange = range("NATS_SYNC", MILLISECOND, HOUR);
pub(super) const TRAIN_MAX_WAIT: DurationRange = range("TRAIN_MAX_WAIT", SECOND, YEAR);
pub(super) const TRAIN_QUIET: DurationRange = range("TRAIN_QUIET", SECOND, YEAR);
pub(super) const TRAIN_COOLDOWN: DurationRange = range("TRAIN_COOLDOWN", SECOND, YEAR);
pub(super) const TRAIN_ACK_WAIT: DurationRange = range("TRAIN_ACK_WAIT", SECOND, DAY);
pub(super) const STOP_DEADLINE: DurationRange = range("STOP_DEADLINE", SECOND, DAY);
pub(super) const CHECKPOINT_EVERY: DurationRange = range("CHECKPOINT_EVERY", MILLISECOND, DAY);
pub(super) const GATE_QUERY_BUDGET: DurationRange = range("GATE_QUERY_BUDGET", MILLISECOND, HOUR);

const fn range(setting: &'static str, shortest: Duration, longest: Duration) -> DurationRange {
    DurationRange { setting, shortest, longest }
}

impl DurationRange {
    pub(super) fn contains(&self, duration: Duration) -> bool {
        (self.shortest..=self.longest).contains(&duration)
    }
}

impl fmt::Display for DurationRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "from {} to {}", words(self.shortest), words(self.longest))
    }
}

/// Returns a duration in the largest unit in which it is a whole number, as settings are written.
fn words(duration: Duration) -> String {
    let units = [(YEAR, "y"), (DAY, "d"), (HOUR, "h"), (SECOND, "s"), (MILLISECOND, "ms")];
    let whole = units.into_iter().find(|(unit, _)| duration.as_millis().is_multiple_of(unit.as_millis()));
    let (unit, name) = whole.unwrap_or((MILLISECOND, "ms"));
    format!("{}{name}", duration.as_millis() / unit.as_millis())
}
