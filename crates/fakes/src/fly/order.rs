//! Orders to the task that runs a machine.

use std::time::Duration;

use super::account::StartReason;
use super::spec::StopSignal;

/// A request to the task that runs a machine.
#[derive(Debug)]
pub(super) enum Order {
    Stop { signal: StopSignal, timeout: Duration, then: Then },
    Suspend,
    Resume { reason: StartReason, pause: Duration },
}

/// Continuation of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Rest,
    Start,
}
