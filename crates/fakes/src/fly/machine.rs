//! A machine, and the changes that its state allows.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::account::{Account, StartReason};
use super::faults::{Faults, StartFault};
use super::ids;
use super::order::{Order, Then};
use super::record::Record;
use super::refusal::Refusal;
use super::spec::{MachineSpec, StopSignal};
use super::state::MachineState;

/// A change of a machine's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Id of the machine.
    pub machine: String,
    /// State after the change.
    pub state: MachineState,
    /// Time of the change.
    pub at: Timestamp,
}

/// State that all machines share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) faults: Faults,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) logs: PathBuf,
}

/// A start that a machine's state allows.
#[derive(Debug)]
pub(super) struct BegunStart {
    /// State before the start.
    pub(super) previous: MachineState,
    /// Life to begin; `None` when the machine has one.
    pub(super) life: Option<Life>,
}

/// Start of the task that runs a machine.
#[derive(Debug)]
pub(super) struct Life {
    /// Number of the task. A task with another number has no more say.
    pub(super) run: u64,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) reason: StartReason,
    pub(super) fault: Option<StartFault>,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: String,
    pub(super) instance_id: String,
    pub(super) private_ip: String,
    pub(super) created_at: Timestamp,
    pub(super) spec: MachineSpec,
    pub(super) world: Arc<World>,
    /// Number of requests that the proxy has in flight to this machine.
    pub(super) busy: watch::Sender<usize>,
    record: Mutex<Record>,
    version: watch::Sender<u64>,
}

impl Machine {
    pub(super) fn new(spec: MachineSpec, world: Arc<World>) -> Arc<Self> {
        let now = Timestamp::now();
        let state = spec.state;
        let machine = Arc::new(Self {
            id: ids::machine(),
            instance_id: ids::version(),
            private_ip: ids::address(),
            created_at: now,
            spec,
            world,
            busy: watch::Sender::new(0),
            record: Mutex::new(Record::new(state, now)),
            version: watch::Sender::new(0),
        });
        let mut record = machine.record();
        record.note("launch", MachineState::Created, "user", None);
        machine.enter(&mut record, state, StartReason::Hand);
        drop(record);
        machine
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        // No code panics while it holds the lock.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MachineState {
        self.record().state
    }

    pub(super) fn account(&self) -> Account {
        self.record().ledger.account(self.spec.price_per_second, Timestamp::now())
    }

    /// Returns the file of the machine's output.
    pub(super) fn log(&self) -> PathBuf {
        self.world.logs.join(format!("{}.log", self.id))
    }

    /// Returns a receiver that changes with every change of state.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Begins a start. A machine that is started stays as it is.
    ///
    /// # Errors
    /// A refusal when the state does not allow a start, or a fault refuses it.
    pub(super) fn begin_start(&self, reason: StartReason) -> Result<BegunStart, Refusal> {
        let faults = &self.world.faults;
        let mut record = self.record();
        let previous = record.state;
        if previous == MachineState::Started {
            let refused = faults.take_started();
            let refusal = || Refusal::not_startable(MachineState::Starting);
            return if refused { Err(refusal()) } else { Ok(BegunStart { previous, life: None }) };
        }
        if !previous.is_startable() {
            return Err(Refusal::not_startable(previous));
        }
        let fault = faults.take_start();
        if let Some(refusal) = fault.as_ref().and_then(StartFault::refusal) {
            return Err(refusal);
        }
        let source = if reason == StartReason::Proxy { "proxy" } else { "user" };
        record.note("start", MachineState::Starting, source, None);
        self.enter(&mut record, MachineState::Starting, reason);
        // A suspended machine that can't continue starts from scratch.
        let cold = matches!(fault, Some(StartFault::Crash(_) | StartFault::Abandoned));
        if previous == MachineState::Suspended && record.orders.is_some() && !cold {
            let pause = match fault {
                Some(StartFault::Slow(pause)) => pause,
                _ => faults.start_time(),
            };
            record.order(Order::Resume { reason, pause });
            return Ok(BegunStart { previous, life: None });
        }
        let (sender, orders) = mpsc::channel(16);
        record.run += 1;
        record.orders = Some(sender);
        Ok(BegunStart { previous, life: Some(Life { run: record.run, orders, reason, fault }) })
    }

    /// Stops the machine. A machine that rests stays as it is.
    ///
    /// # Errors
    /// A refusal when the machine no longer exists or can't be stopped now.
    pub(super) fn stop(
        &self,
        signal: Option<StopSignal>,
        timeout: Option<Duration>,
        then: Then,
        source: &'static str,
    ) -> Result<(), Refusal> {
        let mut record = self.record();
        let state = record.state;
        match state {
            MachineState::Stopped | MachineState::Failed | MachineState::Created => return Ok(()),
            MachineState::Started
            | MachineState::Starting
            | MachineState::Stopping
            | MachineState::Restarting
            | MachineState::Suspended => {}
            state => {
                let message = format!("unable to stop machine from current state: '{state}'");
                return Err(Refusal::precondition(message));
            }
        }
        let (kind, next) = match then {
            Then::Rest => ("stop", MachineState::Stopping),
            Then::Start => ("restart", MachineState::Restarting),
        };
        if state != next {
            record.note(kind, next, source, None);
            self.enter(&mut record, next, StartReason::Api);
        }
        let signal = signal.unwrap_or(self.spec.kill_signal);
        let timeout = timeout.unwrap_or(self.spec.kill_timeout);
        if !record.order(Order::Stop { signal, timeout, then }) {
            // No task runs the machine: its state was set by hand.
            let end = if then == Then::Rest { MachineState::Stopped } else { MachineState::Started };
            self.enter(&mut record, end, StartReason::Restart);
        }
        Ok(())
    }

    /// Freezes the machine.
    ///
    /// # Errors
    /// A refusal when the machine is not started.
    pub(super) fn suspend(&self, source: &'static str) -> Result<(), Refusal> {
        let mut record = self.record();
        match record.state {
            MachineState::Suspended | MachineState::Suspending => return Ok(()),
            MachineState::Started => {}
            state => {
                let message = format!("unable to suspend machine from current state: '{state}'");
                return Err(Refusal::precondition(message));
            }
        }
        record.note("suspend", MachineState::Suspending, source, None);
        self.enter(&mut record, MachineState::Suspending, StartReason::Api);
        if !record.order(Order::Suspend) {
            self.enter(&mut record, MachineState::Suspended, StartReason::Api);
        }
        Ok(())
    }

    /// Sets the state by hand. A process that runs is killed.
    pub(super) fn set_state(&self, state: MachineState) {
        let mut record = self.record();
        record.run += 1;
        record.orders = None;
        self.enter(&mut record, state, StartReason::Hand);
    }

    /// Changes the state for the task with this number, unless the state has been taken from it.
    pub(super) fn advance(&self, run: u64, state: MachineState, reason: StartReason) -> bool {
        let mut record = self.record();
        self.advance_held(&mut record, run, state, reason)
    }

    /// Does the same as [`advance`](Self::advance), under a lock that the caller holds.
    pub(super) fn advance_held(
        &self,
        record: &mut Record,
        run: u64,
        state: MachineState,
        reason: StartReason,
    ) -> bool {
        if record.run != run {
            return false;
        }
        let event = match state {
            MachineState::Started => Some("start"),
            MachineState::Suspended => Some("suspend"),
            _ => None,
        };
        if let Some(kind) = event {
            record.note(kind, state, "flyd", None);
        }
        if matches!(state, MachineState::Stopped | MachineState::Failed) {
            record.orders = None;
        }
        self.enter(record, state, reason);
        true
    }

    /// Waits until the machine is in one of these states, or passes through one of them.
    pub(super) async fn reached(&self, states: &[MachineState]) {
        let mut versions = self.versions();
        let since = self.record().changes();
        loop {
            if self.record().saw(states, since) {
                return;
            }
            if versions.changed().await.is_err() {
                return;
            }
        }
    }

    fn enter(&self, record: &mut Record, state: MachineState, reason: StartReason) {
        let at = Timestamp::now();
        record.enter(state, reason, at);
        self.version.send_modify(|version| *version += 1);
        // Sending fails when nobody listens.
        let _ = self.world.changes.send(Change { machine: self.id.clone(), state, at });
        tracing::debug!(machine = self.id, group = self.spec.group, %state, "machine changes state");
    }
}
