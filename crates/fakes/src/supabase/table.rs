//! The table and its commit log, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// A row as PostgREST returns it: a map from column name to value.
pub(super) type Record = Map<String, Value>;

/// Name and PostgreSQL type of every column, in table order.
pub(super) const COLUMNS: [(&str, &str); 5] = [
    ("id", "int8"),
    ("typo", "text"),
    ("corrected", "text"),
    ("domain", "text"),
    ("created_at", "timestamptz"),
];

/// Returns true when the table has this column.
pub(super) fn has_column(name: &str) -> bool {
    COLUMNS.iter().any(|(column, _)| *column == name)
}

/// One committed insert.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) record: Record,
    pub(super) at: Timestamp,
}

/// Rows by id, and a log of them in commit order. As with a PostgreSQL sequence, an id is assigned
/// before the commit, so the two orders differ when transactions overlap.
#[derive(Debug)]
pub(super) struct Table {
    rows: BTreeMap<i64, Arc<Commit>>,
    log: Vec<Arc<Commit>>,
    next_id: i64,
}

impl Default for Table {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), log: Vec::new(), next_id: 1 }
    }
}

impl Table {
    /// Takes the next id of the sequence. No id is assigned twice, committed or not.
    pub(super) fn reserve(&mut self) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Makes a row visible. Missing columns are null, except `created_at`, which is the time of the
    /// insert. Returns `None` when the id is taken.
    pub(super) fn commit(&mut self, id: i64, values: Record, at: Timestamp) -> Option<Record> {
        self.commit_all(vec![(id, values)], at)?.pop()
    }

    /// Makes several rows visible as one transaction. Returns `None` and changes nothing when an id
    /// is taken.
    pub(super) fn commit_all(&mut self, rows: Vec<(i64, Record)>, at: Timestamp) -> Option<Vec<Record>> {
        let mut ids = BTreeSet::new();
        if rows.iter().any(|(id, _)| self.rows.contains_key(id) || !ids.insert(*id)) {
            return None;
        }
        let commit = |(id, mut values): (i64, Record)| {
            values.insert("id".to_owned(), id.into());
            values.entry("created_at").or_insert_with(|| Value::String(timestamptz(at)));
            let record: Record = COLUMNS
                .iter()
                .map(|(name, _)| ((*name).to_owned(), values.remove(*name).unwrap_or_default()))
                .collect();
            let commit = Arc::new(Commit { record: record.clone(), at });
            self.rows.insert(id, Arc::clone(&commit));
            self.log.push(commit);
            record
        };
        Some(rows.into_iter().map(commit).collect())
    }

    /// Returns every visible row with an id in this range, ordered by id.
    pub(super) fn rows(&self, ids: RangeInclusive<i64>) -> impl Iterator<Item = &Record> {
        let some = (!ids.is_empty()).then(|| self.rows.range(ids));
        some.into_iter().flatten().map(|(_, commit)| &commit.record)
    }

    /// Returns the number of visible rows with an id in this range.
    pub(super) fn count(&self, ids: RangeInclusive<i64>) -> usize {
        match ids {
            ids if ids.is_empty() => 0,
            // The worker's audit asks for the whole table, which needs no iteration.
            ids if self.rows.first_key_value().is_none_or(|(first, _)| ids.contains(first))
                && self.rows.last_key_value().is_none_or(|(last, _)| ids.contains(last)) =>
            {
                self.rows.len()
            }
            ids => self.rows.range(ids).count(),
        }
    }

    pub(super) fn ids(&self) -> Vec<i64> {
        self.rows.keys().copied().collect()
    }

    pub(super) fn delete(&mut self, id: i64) -> bool {
        self.rows.remove(&id).is_some()
    }

    /// Returns the number of committed inserts, which is the position of the log's end.
    pub(super) fn committed(&self) -> usize {
        self.log.len()
    }

    /// Returns the commits from a position of the log on.
    pub(super) fn since(&self, position: usize) -> Vec<Arc<Commit>> {
        self.log.get(position..).unwrap_or_default().to_vec()
    }
}

/// Formats a time as PostgreSQL's JSON does, without trailing zeros:
/// `2026-11-22T09:50:04.809501+00:00`.
pub(super) fn timestamptz(at: Timestamp) -> String {
    let micros = Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at);
    micros.strftime("%Y-%m-%dT%H:%M:%S%.f+00:00").to_string()
}

/// Formats a commit time as Realtime does: three decimals and `Z`.
pub(super) fn commit_timestamp(at: Timestamp) -> String {
    let millis = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
    millis.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_sequence_and_the_log_follows_the_commits() {
        let mut table = Table::default();
        let (slow, quick) = (table.reserve(), table.reserve());
        table.commit(quick, Record::new(), Timestamp::UNIX_EPOCH);
        table.commit(slow, Record::new(), Timestamp::UNIX_EPOCH);
        let logged: Vec<_> = table.since(0).iter().map(|commit| commit.record["id"].clone()).collect();
        assert_eq!(logged, [Value::from(quick), Value::from(slow)]);
        assert!(table.commit(slow, Record::new(), Timestamp::UNIX_EPOCH).is_none());
        let some = vec![(7, Record::new()), (slow, Record::new())];
        assert!(table.commit_all(some, Timestamp::UNIX_EPOCH).is_none());
        assert_eq!((table.ids(), table.committed()), (vec![slow, quick], 2));
    }

    #[test]
    fn times_are_written_as_the_services_do() {
        let at = Timestamp::from_microsecond(1_795_341_004_809_500).expect("in range");
        assert!(timestamptz(at).ends_with(":04.8095+00:00"), "{}", timestamptz(at));
        assert!(commit_timestamp(at).ends_with(":04.809Z"), "{}", commit_timestamp(at));
    }
}
