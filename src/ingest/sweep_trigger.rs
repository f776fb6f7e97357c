//! Requests for a sweep, from a gap in Realtime or from a webhook. A request names the row to read
//! where it can.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Largest number of named rows; the sweep and the audit find further rows without a name.
const MAX_NAMED: usize = 1000;

/// Handle that asks the ingest for a sweep, for instance from a webhook. Asking is cheap, and many
/// requests make one sweep. Clones share their requests.
#[derive(Debug, Clone, Default)]
pub struct SweepTrigger {
    asked: Arc<Notify>,
    named: Arc<Mutex<BTreeSet<i64>>>,
}

impl SweepTrigger {
    /// Asks for a sweep now.
    pub fn sweep(&self) {
        self.asked.notify_one();
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

    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Returns the rows named so far, in ascending order.
    pub(super) fn rows(&self) -> Vec<i64> {
        self.named().iter().copied().collect()
    }

    /// Forgets these rows, which the ingest has read.
    pub(super) fn forget(&self, ids: &[i64]) {
        let mut named = self.named();
        for id in ids {
            named.remove(id);
        }
    }

    fn named(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        // Every change is one call, so a panic elsewhere cannot leave the set half changed.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
