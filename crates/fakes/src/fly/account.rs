//! Accounts: a machine's runs, their time, and their price.

use std::time::Duration;

use jiff::Timestamp;

/// Origin of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartReason {
    /// A request to the Machines API, or a call of
    /// [`Fly::start_machine`](super::Fly::start_machine).
    Api,
    /// A request to the proxy.
    Proxy,
    /// The restart policy, or a restart by the API.
    Restart,
    /// A state set by hand.
    Hand,
}

/// One run of a machine: a stretch in a running state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Time of the change to `started`.
    pub started_at: Timestamp,
    /// Time of the change to a state that costs nothing; `None` while the machine runs.
    pub stopped_at: Option<Timestamp>,
    /// Origin of the start.
    pub reason: StartReason,
}

impl Run {
    /// Returns the length of the run, up to `now` when it has not ended.
    pub fn time(&self, now: Timestamp) -> Duration {
        let ended = self.stopped_at.unwrap_or(now);
        Duration::try_from(ended.duration_since(self.started_at)).unwrap_or_default()
    }
}

/// The account of one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Runs, oldest first. Only the newest 10,000 are kept; the totals include all.
    pub runs: Vec<Run>,
    /// Number of starts that reached `started`.
    pub starts: u64,
    /// Time in running states.
    pub time: Duration,
    /// Price of that time.
    pub money: f64,
}

/// Most runs that are kept one by one.
const RUNS: usize = 10_000;

/// Runs of one machine as they come.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    runs: std::collections::VecDeque<Run>,
    starts: u64,
    /// Time of the runs that are no longer kept.
    forgotten: Duration,
}

impl Ledger {
    pub(super) fn open(&mut self, reason: StartReason, at: Timestamp) {
        self.close(at);
        if self.runs.len() == RUNS {
            self.forgotten += self.runs.pop_front().map(|run| run.time(at)).unwrap_or_default();
        }
        self.starts += 1;
        self.runs.push_back(Run { started_at: at, stopped_at: None, reason });
    }

    pub(super) fn close(&mut self, at: Timestamp) {
        if let Some(run) = self.runs.back_mut().filter(|run| run.stopped_at.is_none()) {
            run.stopped_at = Some(at);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.runs.back().is_some_and(|run| run.stopped_at.is_none())
    }

    pub(super) fn account(&self, price_per_second: f64, now: Timestamp) -> Account {
        let time = self.forgotten + self.runs.iter().map(|run| run.time(now)).sum::<Duration>();
        Account {
            runs: self.runs.iter().copied().collect(),
            starts: self.starts,
            time,
            money: time.as_secs_f64() * price_per_second,
        }
    }
}
