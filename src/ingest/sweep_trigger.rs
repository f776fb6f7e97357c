//! Requests for a sweep, from a gap in Realtime or from a webhook. A request names the row to read
//! where it can.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Largest number of named rows; the sweep and the audit find further rows without a name.
const MAX_NAMED: usize = 1000;
/// Largest number of rows named as changed; the comparison of kept rows finds further ones.
const MAX_CHANGED: usize = 10_000;

/// Handle that asks the ingest for a sweep, for instance from a webhook. Asking is cheap, and many
/// requests make one sweep. Clones share their requests.
#[derive(Debug, Clone, Default)]
pub struct SweepTrigger {
    requests: Arc<Requests>,
}

#[derive(Debug, Default)]
struct Requests {
    notify: Notify,
    named: Mutex<BTreeSet<i64>>,
    changed: Mutex<BTreeSet<i64>>,
    /// Number of requests so far.
    made: AtomicU64,
    /// Number of requests that were made before the last complete sweep began.
    served: AtomicU64,
}

impl SweepTrigger {
    /// Asks for a sweep now.
    pub fn sweep(&self) {
        self.requests.made.fetch_add(1, Ordering::SeqCst);
        self.requests.notify.notify_one();
    }

    /// Returns true while a request waits for a complete sweep that began after it was made.
    pub fn is_behind(&self) -> bool {
        self.requests.served.load(Ordering::SeqCst) < self.made()
    }

    /// Returns the number of requests so far.
    pub(super) fn made(&self) -> u64 {
        self.requests.made.load(Ordering::SeqCst)
    }

    /// Records that a sweep is complete which began after this many requests.
    pub(super) fn served(&self, made: u64) {
        self.requests.served.fetch_max(made, Ordering::SeqCst);
    }

    /// Asks for a sweep now, and for this row even if it is older than the range over which a sweep
    /// looks back.
    pub fn row(&self, id: i64) {
        let mut named = self.named();
        if named.len() < MAX_NAMED {
            named.insert(id);
        }
        drop(named);
        self.sweep();
    }

    /// Asks for a sweep now, and for a look at this row, which was updated or deleted.
    pub fn changed(&self, id: i64) {
        let mut changed = self.changed_ids();
        if changed.len() < MAX_CHANGED {
            changed.insert(id);
        }
        drop(changed);
        self.sweep();
    }

    /// Returns the rows named as changed so far, in ascending order.
    pub(super) fn changed_rows(&self) -> Vec<i64> {
        self.changed_ids().iter().copied().collect()
    }

    pub(super) async fn asked(&self) {
        self.requests.notify.notified().await;
    }

    /// Returns the rows named so far, in ascending order.
    pub(super) fn rows(&self) -> Vec<i64> {
        self.named().iter().copied().collect()
    }

    /// Forgets these changed rows, before the ingest reads them: a later change names a row anew.
    pub(super) fn forget_changed(&self, ids: &[i64]) {
        let mut changed = self.changed_ids();
        for id in ids {
            changed.remove(id);
        }
    }

    /// Forgets these rows, which the ingest has read.
    pub(super) fn forget(&self, ids: &[i64]) {
        let mut named = self.named();
        for id in ids {
            named.remove(id);
        }
    }

    fn changed_ids(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.requests.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        // Every change is one call, so a panic elsewhere cannot leave the set half changed.
        self.requests.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_served_only_by_a_sweep_that_began_after_it() {
        let sweep_trigger = SweepTrigger::default();
        assert!(!sweep_trigger.is_behind());
        sweep_trigger.sweep();
        let begun = sweep_trigger.made();
        sweep_trigger.row(7);
        sweep_trigger.served(begun);
        assert!(sweep_trigger.is_behind(), "row 7 was named while the sweep was running");
        sweep_trigger.served(sweep_trigger.made());
        assert!(!sweep_trigger.is_behind());
        sweep_trigger.served(begun);
        assert!(!sweep_trigger.is_behind());
    }

    #[test]
    fn rows_are_named_until_they_have_been_looked_at_and_never_without_bound() {
        let sweep_trigger = SweepTrigger::default();
        (0..5000).for_each(|id| sweep_trigger.clone().row(id));
        assert_eq!(sweep_trigger.rows().len(), MAX_NAMED);
        let seen = sweep_trigger.rows();
        sweep_trigger.forget(&seen[1..]);
        assert_eq!(sweep_trigger.rows(), [0]);
    }
}
