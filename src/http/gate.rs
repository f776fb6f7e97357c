//! The promise behind an accepted call: the worker serves it before it exits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Gate that hooks pass. It is closed while the worker decides to exit. Clones share it.
///
/// A hook first leaves its request, then passes the gate, then answers. The worker first closes
/// the gate, then looks for requests. So every hook that passed has left its request before the
/// worker looks.
#[derive(Debug, Clone, Default)]
pub struct HookGate {
    state: Arc<GateState>,
}

#[derive(Debug, Default)]
struct GateState {
    closed: AtomicBool,
    passed: AtomicU64,
}

impl HookGate {
    /// Counts a hook that has left its request. Returns false when the gate is closed: the hook
    /// must then not be answered as accepted.
    pub(super) fn pass(&self) -> bool {
        self.state.passed.fetch_add(1, Ordering::SeqCst);
        !self.state.closed.load(Ordering::SeqCst)
    }

    /// Closes the gate.
    pub fn close(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
    }

    /// Opens the gate again.
    pub fn open(&self) {
        self.state.closed.store(false, Ordering::SeqCst);
    }

    /// Returns the number of hooks that came so far.
    pub fn passed(&self) -> u64 {
        self.state.passed.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_nobody_pass_and_still_counts() {
        let gate = HookGate::default();
        assert!(gate.pass());
        gate.clone().close();
        assert!(!gate.pass());
        gate.open();
        assert!(gate.pass());
        assert_eq!(gate.passed(), 3);
    }
}
