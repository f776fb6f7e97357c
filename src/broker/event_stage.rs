//! Stages of events that are not stages of a run.

/// Stage of the event for a refused request.
pub const REFUSED: &str = "refused";
/// Stage of the event for a run that waits in the queue.
pub const QUEUED: &str = "queued";
/// Stage of the event for the outcome of a run, or of an attempt that will be repeated.
pub const ENDED: &str = "ended";
/// Stage of the event for a settled job: the broker has removed it, or will deliver it again.
pub const SETTLED: &str = "settled";
/// Stage of the event for an alert that is about no run.
pub const ALERT: &str = "alert";
