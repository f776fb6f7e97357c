//! The dedup ledger: row ids as ranges, so that a million consecutive ids cost one entry.

use std::collections::BTreeMap;

/// A set of ids as disjoint, non-adjacent, inclusive ranges.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Ledger {
    /// Last id of each range, by its first id.
    ranges: BTreeMap<i64, i64>,
}

impl Ledger {
    pub(super) fn contains(&self, id: i64) -> bool {
        self.ranges.range(..=id).next_back().is_some_and(|(_, last)| id <= *last)
    }

    /// Adds an id; returns true when it was new.
    pub(super) fn insert(&mut self, id: i64) -> bool {
        if self.contains(id) {
            return false;
        }
        let joined_below = id
            .checked_sub(1)
            .and_then(|below| self.ranges.range(..=below).next_back().filter(|(_, last)| **last == below))
            .map(|(first, _)| *first);
        let joined_above = id.checked_add(1).and_then(|above| self.ranges.remove(&above));
        self.ranges.insert(joined_below.unwrap_or(id), joined_above.unwrap_or(id));
        true
    }

    /// Returns the number of ids up to and including `last`.
    pub(super) fn count_up_to(&self, last: i64) -> u64 {
        let ranges = self.ranges.range(..=last);
        ranges.map(|(first, end)| (*end).min(last).abs_diff(*first).saturating_add(1)).sum()
    }

    pub(super) fn highest(&self) -> Option<i64> {
        self.ranges.last_key_value().map(|(_, last)| *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_ledger_is_a_set_of_ids(ids in prop::collection::vec(prop_oneof![
            -20_i64..20,
            (i64::MAX - 3)..=i64::MAX,
            i64::MIN..=(i64::MIN + 3),
        ], 0..60)) {
            let mut ledger = Ledger::default();
            let mut set = BTreeSet::new();
            for id in ids {
                prop_assert_eq!(ledger.insert(id), set.insert(id));
            }
            for id in (-22..22).chain((i64::MAX - 5)..=i64::MAX).chain(i64::MIN..=(i64::MIN + 5)) {
                prop_assert_eq!(ledger.contains(id), set.contains(&id));
            }
            prop_assert_eq!(ledger.highest(), set.last().copied());
            for last in [i64::MIN, -7, 0, 5, i64::MAX] {
                prop_assert_eq!(ledger.count_up_to(last), set.range(..=last).count() as u64);
            }
            let ranges: Vec<_> = ledger.ranges.into_iter().collect();
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].1 + 1 < pair[1].0, "ranges that touch are one range");
            }
        }
    }

    #[test]
    fn ids_in_a_row_cost_one_range() {
        let mut ledger = Ledger::default();
        for id in (0..10_000).rev() {
            ledger.insert(id);
        }
        assert_eq!(ledger.ranges.len(), 1);
    }
}
