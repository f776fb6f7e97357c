//! The stages of events that no stage of a run has.

/// The stage of the event that says a request was refused.
pub const REFUSED: &str = "refused";
/// The stage of the event that says a run waits to be worked on.
pub const QUEUED: &str = "queued";
/// The stage of the event that says how a run ended, for good or for now.
pub const ENDED: &str = "ended";
/// The stage of the event that says the broker no longer holds the job, or will deliver it again.
pub const SETTLED: &str = "settled";
