//! What asks for a sweep: a gap in Realtime, a webhook. Names rows to look at where it can.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Rows named at most; beyond that the sweep and the audit find them by themselves.
const MAX_NAMED: usize = 1000;

/// Asks the ingest for a sweep, from a webhook for instance. Cheap, and many calls make one sweep. Clones are one.
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

    /// Asks for a sweep now, and for this row even if it is older than the sweep looks back.
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

    /// The rows named so far, lowest first.
    pub(super) fn rows(&self) -> Vec<i64> {
        self.named().iter().copied().collect()
    }

    /// These rows have been looked at.
    pub(super) fn forget(&self, ids: &[i64]) {
        let mut named = self.named();
        for id in ids {
            named.remove(id);
        }
    }

    fn named(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        // Every change is one call: a panic elsewhere can't leave it half done.
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
