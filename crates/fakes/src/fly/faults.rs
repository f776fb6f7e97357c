//! Switches that inject the failures of the real service while the stand-in runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;

use super::refusal::Refusal;

/// Most failures that wait at a time; more are discarded.
const QUEUE: usize = 10_000;

/// A failure of an API request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestFault {
    /// No failure, so that a failure after it strikes a later request.
    None,
    /// This status, with this text as the `error` of the body.
    Status(StatusCode, String),
    /// Status 429, with a `Retry-After` in whole seconds or without.
    RateLimited(Option<Duration>),
    /// The connection closes before the request has any effect.
    Cut,
    /// The request has its effect, and the connection closes without an answer.
    AnswerLost,
}

/// A failure of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFault {
    /// Status 409: the machine's host has no memory left.
    HostFull,
    /// Status 412: the region has no resources left.
    RegionFull,
    /// Status 412, although the machine reads `stopped`: the last run is not cleaned up yet.
    StillActive,
    /// Status 412: the machine is being replaced, although it reads `stopped`.
    GettingReplaced,
    /// Status 409 for a machine that is already `started`: the start is not idempotent.
    AlreadyStarted,
    /// The machine stays in `starting` for this time.
    Slow(Duration),
    /// The start is accepted, and the process exits with this code at once.
    Crash(i32),
    /// The start is accepted, the machine passes `starting`, and ends in `stopped`. Unlike with
    /// [`Crash`](Self::Crash), the restart policy does not apply.
    Abandoned,
}

/// The fault switches of one stand-in, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Switches>>);

#[derive(Debug, Default)]
struct Switches {
    requests: VecDeque<RequestFault>,
    starts: VecDeque<StartFault>,
    slow_starts: Duration,
}

impl Faults {
    /// Makes the next `times` API requests fail with `fault`.
    pub fn fail_requests(&self, fault: RequestFault, times: usize) {
        let mut switches = self.switches();
        let times = times.min(QUEUE.saturating_sub(switches.requests.len()));
        switches.requests.extend(std::iter::repeat_n(fault, times));
    }

    /// Makes the next `times` starts fail with `fault`, whether the API or the proxy asks for them.
    pub fn fail_starts(&self, fault: StartFault, times: usize) {
        let mut switches = self.switches();
        let times = times.min(QUEUE.saturating_sub(switches.starts.len()));
        switches.starts.extend(std::iter::repeat_n(fault, times));
    }

    /// Keeps every machine in `starting` for this time, until another time is set.
    pub fn slow_starts(&self, time: Duration) {
        self.switches().slow_starts = time;
    }

    /// Discards the failures that have not happened yet.
    pub fn clear(&self) {
        *self.switches() = Switches::default();
    }

    /// Returns true when every counted failure has happened.
    pub fn spent(&self) -> bool {
        let switches = self.switches();
        switches.requests.is_empty() && switches.starts.is_empty()
    }

    pub(super) fn take_request(&self) -> Option<RequestFault> {
        self.switches().requests.pop_front()
    }

    /// Takes the failure of a start of a machine that is already started.
    pub(super) fn take_started(&self) -> bool {
        let mut switches = self.switches();
        let found = switches.starts.front() == Some(&StartFault::AlreadyStarted);
        if found {
            switches.starts.pop_front();
        }
        found
    }

    /// Takes the failure of a start of a machine that is not started. One that is about a started
    /// machine stays.
    pub(super) fn take_start(&self) -> Option<StartFault> {
        let mut switches = self.switches();
        let found = switches.starts.iter().position(|fault| *fault != StartFault::AlreadyStarted)?;
        switches.starts.remove(found)
    }

    pub(super) fn start_time(&self) -> Duration {
        self.switches().slow_starts
    }

    fn switches(&self) -> MutexGuard<'_, Switches> {
        // A switch is one assignment, so a panic elsewhere cannot leave it half set.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StartFault {
    /// Returns the response of a failure that refuses the start.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::HostFull => Some(Refusal::host_full()),
            Self::RegionFull => Some(Refusal::region_full()),
            Self::StillActive => Some(Refusal::still_active()),
            Self::GettingReplaced => Some(Refusal::not_startable(super::state::MachineState::Replacing)),
            Self::AlreadyStarted | Self::Slow(_) | Self::Crash(_) | Self::Abandoned => None,
        }
    }
}
