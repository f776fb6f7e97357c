//! Requests for a sweep, from a gap in Realtime or from a webhook. A request names the row to read
//! where it can.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::row_identity::RowId;

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
    named: Mutex<BTreeSet<RowId>>,
    changed: Mutex<Changes>,
    /// Number of requests so far.
    made: AtomicU64,
    /// Number of requests that were made before the last complete sweep began.
    served: AtomicU64,
}

/// A row that was named as updated or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) id: RowId,
    pub(super) is_deleted: bool,
    /// Number of the call that named the row last.
    call: u64,
}

#[derive(Debug, Default)]
struct Changes {
    rows: BTreeMap<RowId, Change>,
    /// Number of calls so far.
    calls: u64,
}

impl SweepTrigger {
    /// Asks for a sweep now.
    pub fn sweep(&self) {
        self.requests.made.fetch_add(1, Ordering::SeqCst);
        self.requests.notify.notify_one();
    }

    /// Returns true while a request waits for a complete sweep that began after it was made, or a
    /// changed row waits for a look.
    pub fn is_behind(&self) -> bool {
        self.wants_sweep() || !self.changes().rows.is_empty()
    }

    /// Returns true while a request waits for a complete sweep that began after it was made.
    pub(super) fn wants_sweep(&self) -> bool {
        !self.has_served(self.made())
    }

    /// Returns true when a sweep is complete that began after this many requests.
    pub(super) fn has_served(&self, made: u64) -> bool {
        self.requests.served.load(Ordering::SeqCst) >= made
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
    pub fn row(&self, id: impl Into<RowId>) {
        let mut named = self.named();
        if named.len() < MAX_NAMED {
            named.insert(id.into());
        }
        drop(named);
        self.sweep();
    }

    /// Asks for a look at this row, which was updated. Some tables are updated all the time, so this
    /// asks for no sweep.
    pub fn changed(&self, id: impl Into<RowId>) {
        self.name_change(id.into(), false);
    }

    /// Asks for a look at this row, which was deleted.
    pub fn deleted(&self, id: impl Into<RowId>) {
        self.name_change(id.into(), true);
    }

    fn name_change(&self, id: RowId, is_deleted: bool) {
        let mut changes = self.changes();
        changes.calls += 1;
        let call = changes.calls;
        let known = changes.rows.get(&id);
        let is_deleted = is_deleted || known.is_some_and(|known| known.is_deleted);
        if known.is_some() || changes.rows.len() < MAX_CHANGED {
            changes.rows.insert(id.clone(), Change { id, is_deleted, call });
        }
        drop(changes);
        self.requests.notify.notify_one();
    }

    /// Returns the rows named as changed so far, in ascending order.
    pub(super) fn changed_rows(&self) -> Vec<Change> {
        self.changes().rows.values().cloned().collect()
    }

    pub(super) async fn asked(&self) {
        self.requests.notify.notified().await;
    }

    /// Returns the rows named so far, in ascending order.
    pub(super) fn rows(&self) -> Vec<RowId> {
        self.named().iter().cloned().collect()
    }

    /// Forgets these changed rows, which the ingest has read, unless they were named again meanwhile.
    pub(super) fn forget_changed(&self, read: &[Change]) {
        let mut changes = self.changes();
        for change in read {
            if changes.rows.get(&change.id) == Some(change) {
                changes.rows.remove(&change.id);
            }
        }
    }

    /// Forgets these rows, which the ingest has read.
    pub(super) fn forget(&self, ids: &[RowId]) {
        let mut named = self.named();
        for id in ids {
            named.remove(id);
        }
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.requests.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(&self) -> MutexGuard<'_, BTreeSet<RowId>> {
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
        assert!(sweep_trigger.has_served(begun) && !sweep_trigger.has_served(begun + 1));
        sweep_trigger.served(sweep_trigger.made());
        assert!(!sweep_trigger.is_behind());
        sweep_trigger.served(begun);
        assert!(!sweep_trigger.is_behind());
    }

    #[test]
    fn a_row_that_changes_while_it_is_read_is_read_again() {
        let sweep_trigger = SweepTrigger::default();
        sweep_trigger.changed(7);
        sweep_trigger.changed(8);
        assert!(sweep_trigger.is_behind() && !sweep_trigger.wants_sweep());
        let read = sweep_trigger.changed_rows();
        sweep_trigger.changed(8);
        sweep_trigger.forget_changed(&read);
        let left = sweep_trigger.changed_rows();
        assert_eq!(left.iter().map(|change| change.id.number()).collect::<Vec<_>>(), [8]);
        sweep_trigger.forget_changed(&left);
        assert!(!sweep_trigger.is_behind());
        (0..20_000).for_each(|id| sweep_trigger.changed(id));
        assert_eq!(sweep_trigger.changed_rows().len(), MAX_CHANGED);
    }

    #[test]
    fn rows_are_named_until_they_have_been_looked_at_and_never_without_bound() {
        let sweep_trigger = SweepTrigger::default();
        (0..5000).for_each(|id| sweep_trigger.clone().row(id));
        assert_eq!(sweep_trigger.rows().len(), MAX_NAMED);
        let seen = sweep_trigger.rows();
        sweep_trigger.forget(&seen[1..]);
        assert_eq!(sweep_trigger.rows(), [0.into()]);
    }
}
