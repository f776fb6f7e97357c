//! The exit of an idle worker: a machine that has nothing to do costs nothing when it is off.
//!
//! Never exits while there is work, or while work is due soon. An accepted webhook or tick is
//! always served first: see [`HookGate`].

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::BrokerHandles;
use crate::broker::{BrokerError, Clock};
use crate::failure::chain;
use crate::http::{HookGate, Server};
use crate::ingest::{IngestStatus, SweepTrigger};
use crate::trigger::Decision;

/// Shortest time that a worker must be idle before it exits. A sweep and the pairs of one form come
/// within it.
pub const SHORTEST_IDLE: Duration = Duration::from_secs(10);

/// Time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Time that requests in progress have to end once no new ones are taken. The database gives up a
/// webhook after five seconds.
const DRAIN: Duration = Duration::from_secs(4);

/// Reason why a worker is not idle.
#[derive(Debug)]
enum Busy {
    /// This many jobs are in progress or wait.
    Jobs(u64),
    /// A job is due soon.
    Due(Timestamp),
    /// The table has not been swept since the start, or since a request.
    SweepBehind,
    /// The last sweep failed.
    SweepFails,
    /// This many rows of Realtime are not stored yet.
    Undelivered(u64),
    /// This many other clients are connected to the embedded server.
    Clients(usize),
    /// The broker does not answer.
    Unknown(BrokerError),
}

impl fmt::Display for Busy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(jobs) => write!(formatter, "{jobs} jobs in progress or waiting"),
            Self::Due(at) => write!(formatter, "a job is due at {at}"),
            Self::SweepBehind => formatter.write_str("the table is being swept"),
            Self::SweepFails => formatter.write_str("the last sweep failed"),
            Self::Undelivered(rows) => write!(formatter, "{rows} rows are not stored yet"),
            Self::Clients(clients) => write!(formatter, "{clients} clients are connected to nats-server"),
            Self::Unknown(error) => write!(formatter, "the broker can't be asked: {}", chain(error)),
        }
    }
}

/// The ingest of the worker, as far as it keeps the worker awake.
#[derive(Debug)]
pub(super) struct IngestActivity {
    pub(super) status: watch::Receiver<IngestStatus>,
    pub(super) sweep_trigger: SweepTrigger,
}

impl IngestActivity {
    fn busy(&self) -> Option<Busy> {
        let status = self.status.borrow();
        if status.undelivered > 0 {
            return Some(Busy::Undelivered(status.undelivered));
        }
        if status.sweep_trouble.is_some() {
            return Some(Busy::SweepFails);
        }
        (status.sweeps == 0 || self.sweep_trigger.is_behind()).then_some(Busy::SweepBehind)
    }

    /// Returns the number of pairs stored by this process.
    fn stored(&self) -> u64 {
        let status = self.status.borrow();
        status.rows_by_realtime + status.rows_by_sweep + status.rows_by_audit + status.refused
    }
}

/// Watch over a worker that exits when it is idle.
#[derive(Debug)]
pub(super) struct IdleWatch {
    /// Time that the worker must be idle before it exits.
    pub(super) after: Duration,
    pub(super) handles: BrokerHandles,
    /// `None` on a worker that only trains.
    pub(super) ingest: Option<IngestActivity>,
    pub(super) gate: HookGate,
}

impl IdleWatch {
    /// Waits until the worker has been idle for the whole time.
    async fn idle(&self) {
        let mut timer = IdleTimer::new(self.after, Instant::now(), self.activity());
        let mut told = String::new();
        loop {
            let busy = self.busy().await;
            if timer.observe(Instant::now(), busy.is_some(), self.activity()) {
                return;
            }
            let reason = busy.map(|busy| busy.to_string()).unwrap_or_default();
            if reason != told {
                tracing::debug!(reason, "the worker stays up");
                told = reason;
            }
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    /// Returns the reason why the worker must stay up, if there is one. Starts a job that is due.
    async fn busy(&self) -> Option<Busy> {
        if let Some(busy) = self.ingest.as_ref().and_then(IngestActivity::busy) {
            return Some(busy);
        }
        match self.busy_by_broker().await {
            Ok(busy) => busy,
            Err(error) => Some(Busy::Unknown(error)),
        }
    }

    async fn busy_by_broker(&self) -> Result<Option<Busy>, BrokerError> {
        // Looks before it counts: a job that the look starts counts.
        let decision = self.handles.trigger.look().await?;
        let jobs = self.handles.jobs.outstanding().await?;
        if jobs > 0 {
            return Ok(Some(Busy::Jobs(jobs)));
        }
        let now = self.handles.streams.clock().now();
        let soon = now.saturating_add(self.after).unwrap_or(Timestamp::MAX);
        if let Decision::WaitUntil(at) = decision
            && at <= soon
        {
            return Ok(Some(Busy::Due(at)));
        }
        let clients = self.handles.streams.connection().other_clients().await?.unwrap_or_default();
        Ok((clients > 0).then_some(Busy::Clients(clients)))
    }

    /// Returns a number that changes with every hook and every stored pair.
    fn activity(&self) -> u64 {
        self.gate.passed() + self.ingest.as_ref().map_or(0, IngestActivity::stored)
    }
}

/// Time since the worker was last busy.
#[derive(Debug)]
struct IdleTimer {
    after: Duration,
    since: Instant,
    activity: u64,
}

impl IdleTimer {
    fn new(after: Duration, now: Instant, activity: u64) -> Self {
        Self { after, since: now, activity }
    }

    /// Takes in a check. Returns true when the worker has been idle for the whole time.
    fn observe(&mut self, now: Instant, busy: bool, activity: u64) -> bool {
        if busy || activity != self.activity {
            self.since = now;
            self.activity = activity;
        }
        now.duration_since(self.since) >= self.after
    }
}

/// Serves HTTP until `stop` is cancelled, which this function does itself when the worker is idle.
///
/// Before it stops an idle worker, it closes the socket and the gate, and checks once more: a hook
/// that was accepted meanwhile, or a job that became due, opens both again.
pub(super) async fn serve(
    mut server: Server,
    idle: Option<IdleWatch>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let Some(idle) = idle else { return server.serve(stop.cancelled_owned()).await };
    loop {
        let closing = stop.child_token();
        let serving = server.serve(closing.clone().cancelled_owned());
        tokio::pin!(serving);
        tokio::select! {
            // Ends by itself only after an error, or because the worker stops.
            served = &mut serving => return served,
            () = idle.idle() => {}
        }
        closing.cancel();
        // A request that takes longer finds the gate closed.
        if let Ok(served) = tokio::time::timeout(DRAIN, serving).await {
            served?;
        }
        idle.gate.close();
        match idle.busy().await {
            None => {
                tracing::info!(idle_for = ?idle.after, "nothing to do; the worker exits");
                stop.cancel();
                return Ok(());
            }
            Some(busy) => tracing::info!(reason = %busy, "work came while the worker was about to exit"),
        }
        idle.gate.open();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One check, some time after the one before.
    #[derive(Debug, Clone, Copy)]
    struct Check {
        after: u64,
        busy: bool,
        active: bool,
    }

    fn checks() -> impl Strategy<Value = Vec<Check>> {
        let check = (0_u64..8, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(after, busy, active)| Check { after, busy, active });
        prop::collection::vec(check, 1..40)
    }

    proptest! {
        #[test]
        fn a_worker_exits_at_the_first_check_after_a_whole_idle_time(checks in checks()) {
            let (after, start) = (Duration::from_secs(10), Instant::now());
            let mut timer = IdleTimer::new(after, start, 0);
            let (mut now, mut last_busy, mut activity) = (start, start, 0);
            for check in checks {
                now += Duration::from_secs(check.after);
                activity += u64::from(check.active);
                if check.busy || check.active {
                    last_busy = now;
                }
                let exits = timer.observe(now, check.busy, activity);
                prop_assert_eq!(exits, now - last_busy >= after);
            }
        }
    }
}
