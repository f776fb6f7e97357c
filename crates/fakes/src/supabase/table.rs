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

/// Kind of a change, by the name that Realtime and webhooks give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Insert,
    Update,
    Delete,
}

impl ChangeKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// One committed change of a row.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) id: i64,
    pub(super) kind: ChangeKind,
    /// Row after the change; for a delete, the row before it.
    pub(super) record: Record,
    /// Row before an update or a delete.
    pub(super) old: Option<Record>,
    pub(super) at: Timestamp,
}

/// Rows by id, and a log of their changes in commit order. As with a PostgreSQL sequence, an id is
/// assigned before the commit, so the two orders differ when transactions overlap.
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
    /// Takes the next id of the sequence. No id is assigned twice, committed or not, unless the
    /// sequence is restarted.
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
            self.log(Commit { id, kind: ChangeKind::Insert, record: record.clone(), old: None, at });
            record
        };
        Some(rows.into_iter().map(commit).collect())
    }

    /// Changes columns of a row, and returns the row. Returns `None` when there is no such row, or
    /// when its new id is taken.
    pub(super) fn update(&mut self, id: i64, values: &Record, at: Timestamp) -> Option<Record> {
        let old = self.rows.get(&id)?.record.clone();
        let mut record = old.clone();
        record.extend(values.clone().into_iter().filter(|(name, _)| has_column(name)));
        let new_id = record["id"].as_i64()?;
        if new_id != id && self.rows.contains_key(&new_id) {
            return None;
        }
        self.rows.remove(&id);
        let kind = ChangeKind::Update;
        self.log(Commit { id: new_id, kind, record: record.clone(), old: Some(old), at });
        Some(record)
    }

    /// Deletes a row, and returns it.
    pub(super) fn delete(&mut self, id: i64, at: Timestamp) -> Option<Record> {
        let record = self.rows.remove(&id)?.record.clone();
        let old = Some(record.clone());
        self.log(Commit { id, kind: ChangeKind::Delete, record: record.clone(), old, at });
        Some(record)
    }

    /// Deletes all rows and restarts the sequence of ids, as `truncate ... restart identity` does.
    /// Neither Realtime nor a row's webhook hears of it.
    pub(super) fn truncate_restart_identity(&mut self) {
        self.rows.clear();
        self.next_id = 1;
    }

    fn log(&mut self, commit: Commit) {
        let commit = Arc::new(commit);
        if commit.kind != ChangeKind::Delete {
            self.rows.insert(commit.id, Arc::clone(&commit));
        }
        self.log.push(commit);
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

    /// Returns true when a row with this id is visible.
    pub(super) fn holds(&self, id: i64) -> bool {
        self.rows.contains_key(&id)
    }

    /// Returns the number of committed changes, which is the position of the log's end.
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
    fn changes_are_logged_with_the_row_before_and_a_truncate_is_not() {
        let (mut table, at) = (Table::default(), Timestamp::UNIX_EPOCH);
        let id = table.reserve();
        table.commit(id, Record::from_iter([("typo".to_owned(), "a".into())]), at);
        let changes = Record::from_iter([("typo".to_owned(), "b".into()), ("nope".to_owned(), 1.into())]);
        assert_eq!(table.update(id, &changes, at).map(|row| row["typo"].clone()), Some("b".into()));
        assert!(table.update(9, &changes, at).is_none() && table.delete(9, at).is_none());
        assert_eq!(table.delete(id, at).map(|row| row["typo"].clone()), Some("b".into()));
        let logged = table.since(0);
        let kinds: Vec<_> = logged.iter().map(|commit| commit.kind).collect();
        assert_eq!(kinds, [ChangeKind::Insert, ChangeKind::Update, ChangeKind::Delete]);
        assert_eq!(logged[1].old.as_ref().map(|old| old["typo"].clone()), Some("a".into()));
        let next = table.reserve();
        table.commit(next, Record::new(), at);
        table.truncate_restart_identity();
        assert_eq!((table.ids(), table.committed(), table.reserve()), (Vec::new(), 4, 1));
    }

    #[test]
    fn times_are_written_as_the_services_do() {
        let at = Timestamp::from_microsecond(1_795_341_004_809_500).expect("in range");
        assert!(timestamptz(at).ends_with(":04.8095+00:00"), "{}", timestamptz(at));
        assert!(commit_timestamp(at).ends_with(":04.809Z"), "{}", commit_timestamp(at));
    }
}
