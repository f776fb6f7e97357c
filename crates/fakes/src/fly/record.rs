//! The part of a machine that changes: its state, its events, and what follows from them.

use std::collections::VecDeque;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::account::{Ledger, StartReason};
use super::event::{Event, ExitEvent};
use super::ids;
use super::lease::Lease;
use super::order::Order;
use super::refusal::Refusal;
use super::state::MachineState;

/// Most events that a machine keeps.
const EVENTS: usize = 50;
/// Most changes of state that a machine keeps.
const HISTORY: usize = 1_000;

/// The changing part of a machine, behind its lock.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) state: MachineState,
    pub(super) updated_at: Timestamp,
    /// Events, newest first.
    pub(super) events: VecDeque<Event>,
    pub(super) lease: Option<Lease>,
    pub(super) ledger: Ledger,
    history: VecDeque<(u64, MachineState)>,
    /// Number of changes of state so far.
    changes: u64,
    /// Number of the task that runs the machine. A task with another number has no more say.
    pub(super) run: u64,
    pub(super) orders: Option<mpsc::Sender<Order>>,
}

impl Record {
    pub(super) fn new(state: MachineState, now: Timestamp) -> Self {
        Self {
            state,
            updated_at: now,
            events: VecDeque::new(),
            lease: None,
            ledger: Ledger::default(),
            history: VecDeque::new(),
            changes: 0,
            run: 0,
            orders: None,
        }
    }

    /// Changes the state, and the account with it.
    pub(super) fn enter(&mut self, state: MachineState, reason: StartReason, at: Timestamp) {
        if state == MachineState::Started {
            if !self.ledger.is_open() {
                self.ledger.open(reason, at);
            }
        } else if !state.is_running() {
            self.ledger.close(at);
        }
        self.state = state;
        self.updated_at = at;
        self.changes += 1;
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((self.changes, state));
    }

    /// Returns the number of changes of state so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns true when the state is one of these, or was after this many changes.
    pub(super) fn saw(&self, states: &[MachineState], since: u64) -> bool {
        let mut later = self.history.iter().rev().take_while(|(number, _)| *number > since);
        states.contains(&self.state) || later.any(|(_, state)| states.contains(state))
    }

    /// Adds an event.
    pub(super) fn note(
        &mut self,
        kind: &'static str,
        status: MachineState,
        source: &'static str,
        exit: Option<ExitEvent>,
    ) {
        self.events.truncate(EVENTS - 1);
        self.events.push_front(Event {
            id: ids::version(),
            kind,
            status,
            source,
            exit,
            at: Timestamp::now(),
        });
    }

    /// Hands an order to the task that runs the machine. Returns false when there is none.
    pub(super) fn order(&self, order: Order) -> bool {
        // A full queue holds a stop already.
        self.orders.as_ref().is_some_and(|orders| {
            !matches!(orders.try_send(order), Err(mpsc::error::TrySendError::Closed(_)))
        })
    }

    /// Returns the lease that has not ended.
    pub(super) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| lease.expires_at > Timestamp::now())
    }

    /// Checks that the caller may change the machine.
    ///
    /// # Errors
    /// 409 when somebody else holds a lease.
    pub(super) fn check_lease(&self, machine: &str, nonce: Option<&str>) -> Result<(), Refusal> {
        match self.lease() {
            Some(lease) if nonce != Some(&lease.nonce) => {
                Err(Refusal::leased(machine, &lease.owner, lease.expires_at))
            }
            _ => Ok(()),
        }
    }
}
