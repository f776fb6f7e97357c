//! The table and its commit log, in memory.
//!
//! ```text
//! commit  a committed change
//! place   places of rows in the order of their times
//! write   inserts, updates and deletions as clients ask for them
//! ```

mod commit;
mod place;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::postgres::column::{COLUMNS, Columns, has_column};
use super::postgres::primary_key::{Cut, IdType, Key};
pub(super) use commit::{ChangeKind, Commit, commit_timestamp};
pub(super) use place::{Moment, Place};
pub(super) use write::{Changes, NewRow, OnConflict};

/// A row as PostgREST returns it: a map from column name to value.
pub(super) type Record = Map<String, Value>;

/// Rows, and a log of their changes in commit order. As with a PostgreSQL sequence, a number is
/// assigned before the commit, so the two orders differ when transactions overlap.
///
/// A row is found by its number here, whatever its primary key is.
#[derive(Debug, Default)]
pub(super) struct Table {
    columns: Columns,
    rows: BTreeMap<Key, Arc<Commit>>,
    /// Rows by time. Made at the first read in this order, and kept from then on.
    by_time: Option<BTreeMap<Place, Arc<Commit>>>,
    /// Keys of the rows by number. Empty in a `bigint` table, where the number is the key.
    keys: BTreeMap<i64, Key>,
    /// Keys of this series that clients chose, by number; also of rows that are deleted.
    chosen: HashMap<i64, Key>,
    log: Vec<Arc<Commit>>,
    reserved: i64,
    /// Number of times that the sequence was restarted.
    series: u64,
}

impl Table {
    pub(super) fn new(columns: Columns) -> Self {
        Self { columns, ..Self::default() }
    }

    pub(super) fn id_type(&self) -> IdType {
        self.columns.id
    }

    /// Takes the next number of the sequence. No number is assigned twice, committed or not, unless
    /// the sequence is restarted.
    pub(super) fn reserve(&mut self) -> i64 {
        self.reserved += 1;
        self.reserved
    }

    /// Makes a row visible. Missing columns are null, except `created_at`, which is the time of the
    /// insert. Returns `None` when the id is taken.
    pub(super) fn commit(&mut self, number: i64, values: Record, at: Timestamp) -> Option<Record> {
        self.commit_all(vec![(number, values)], at)?.pop()
    }

    /// Makes several rows visible as one transaction. Returns `None` and changes nothing when an id
    /// is taken.
    pub(super) fn commit_all(&mut self, rows: Vec<(i64, Record)>, at: Timestamp) -> Option<Vec<Record>> {
        let keys: Vec<_> = rows.iter().map(|(number, values)| self.key_of_new(*number, values)).collect();
        let mut distinct = BTreeSet::new();
        if keys.iter().any(|key| self.rows.contains_key(key) || !distinct.insert(key)) {
            return None;
        }
        let commit = |((number, mut values), key): ((i64, Record), Key)| {
            values.insert("id".to_owned(), key.value());
            values.entry("created_at").or_insert_with(|| self.columns.moment(at));
            let record: Record = COLUMNS
                .iter()
                .map(|name| ((*name).to_owned(), values.remove(*name).unwrap_or_default()))
                .collect();
            self.log(Commit { number, key, kind: ChangeKind::Insert, record: record.clone(), old: None, at });
            record
        };
        Some(rows.into_iter().zip(keys).map(commit).collect())
    }

    /// Changes columns of a row, and returns the row. Returns `None` when there is no such row, or
    /// when its new id is taken or not of the type.
    pub(super) fn update(&mut self, number: i64, values: &Record, at: Timestamp) -> Option<Record> {
        let old_key = self.key(number)?;
        let old = self.rows.get(&old_key)?.record.clone();
        let mut record = old.clone();
        record.extend(values.clone().into_iter().filter(|(name, _)| has_column(name)));
        let key = self.columns.id.read_value(&record["id"])?;
        if key != old_key && self.rows.contains_key(&key) {
            return None;
        }
        record["id"] = key.value();
        self.remove(&old_key);
        let number = if let Key::Number(number) = key { number } else { number };
        let kind = ChangeKind::Update;
        self.log(Commit { number, key, kind, record: record.clone(), old: Some(old), at });
        Some(record)
    }

    /// Deletes a row, and returns it.
    pub(super) fn delete(&mut self, number: i64, at: Timestamp) -> Option<Record> {
        let key = self.key(number)?;
        let record = self.remove(&key)?.record.clone();
        let old = Some(record.clone());
        self.log(Commit { number, key, kind: ChangeKind::Delete, record: record.clone(), old, at });
        Some(record)
    }

    /// Deletes all rows and restarts the sequence of numbers, as `truncate ... restart identity`
    /// does. Neither Realtime nor a row's webhook hears of it.
    pub(super) fn truncate_restart_identity(&mut self) {
        self.rows.clear();
        self.by_time = None;
        self.keys.clear();
        self.chosen.clear();
        self.reserved = 0;
        self.series += 1;
    }

    /// Returns the text of a row's id: its current one or its last one, and for a row that is not
    /// there yet the one that the database makes up.
    pub(super) fn id_text(&self, number: i64) -> String {
        let known = self.keys.get(&number).or_else(|| self.chosen.get(&number));
        known.map_or_else(|| self.columns.id.made_up(number, self.series).text(), Key::text)
    }

    /// Returns the key of a row that exists.
    fn key(&self, number: i64) -> Option<Key> {
        match self.columns.id.is_number() {
            true => Some(Key::Number(number)),
            false => self.keys.get(&number).cloned(),
        }
    }

    /// Returns the key of a row to insert: the one among its values, or one that is made up.
    fn key_of_new(&self, number: i64, values: &Record) -> Key {
        let chosen = match self.columns.id.is_number() {
            true => None,
            false => values.get("id").and_then(|id| self.columns.id.read_value(id)),
        };
        chosen.unwrap_or_else(|| self.columns.id.made_up(number, self.series))
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<Commit>> {
        let commit = self.rows.remove(key)?;
        if let Some(by_time) = &mut self.by_time {
            by_time.remove(&commit.place());
        }
        self.keys.remove(&commit.number);
        Some(commit)
    }

    fn log(&mut self, commit: Commit) {
        let commit = Arc::new(commit);
        let key = &commit.key;
        if commit.kind != ChangeKind::Delete {
            self.rows.insert(key.clone(), Arc::clone(&commit));
            if let Some(by_time) = &mut self.by_time {
                by_time.insert(commit.place(), Arc::clone(&commit));
            }
            if !self.columns.id.is_number() {
                self.keys.insert(commit.number, key.clone());
                if *key != self.columns.id.made_up(commit.number, self.series) {
                    self.chosen.insert(commit.number, key.clone());
                }
            }
        }
        self.log.push(commit);
    }

    /// Returns the last change of every visible row with a key in this range, ordered by key.
    pub(super) fn commits(&self, keys: Range<Cut>) -> impl DoubleEndedIterator<Item = &Commit> + Clone {
        let some = (!keys.is_empty()).then(|| self.rows.range((keys.start.begin(), keys.end.end())));
        some.into_iter().flatten().map(|(_, commit)| &**commit)
    }

    /// Returns every visible row with a key in this range, ordered by key.
    pub(super) fn rows(&self, keys: Range<Cut>) -> impl DoubleEndedIterator<Item = &Record> + Clone {
        self.commits(keys).map(|commit| &commit.record)
    }

    /// Returns every visible row with a place in this range, ordered by time and then by key.
    pub(super) fn rows_by_time(
        &mut self,
        places: Range<Place>,
    ) -> impl DoubleEndedIterator<Item = &Record> + Clone {
        let commits = || self.rows.values().map(|commit| (commit.place(), Arc::clone(commit))).collect();
        let by_time = self.by_time.get_or_insert_with(commits);
        let some = (!places.is_empty()).then(|| by_time.range(places));
        some.into_iter().flatten().map(|(_, commit)| &commit.record)
    }

    /// Returns every visible row in the order of the numbers. Without an order, PostgreSQL returns
    /// rows about as they were inserted.
    pub(super) fn rows_as_inserted(&self) -> Box<dyn Iterator<Item = &Record> + '_> {
        match self.columns.id.is_number() {
            true => Box::new(self.rows(Cut::First..Cut::Last)),
            false => {
                Box::new(self.keys.values().filter_map(|key| self.rows.get(key)).map(|commit| &commit.record))
            }
        }
    }

    /// Returns the visible rows with these keys.
    pub(super) fn listed<'a>(&'a self, keys: &'a BTreeSet<Key>) -> impl Iterator<Item = &'a Record> {
        keys.iter().filter_map(|key| self.rows.get(key)).map(|commit| &commit.record)
    }

    /// Returns the number of visible rows with a key in this range.
    pub(super) fn count(&self, keys: Range<Cut>) -> usize {
        let within = |key: Option<(&Key, &Arc<Commit>)>| {
            key.is_none_or(|(key, _)| keys.contains(&Cut::before(key.clone())))
        };
        // The worker's audit asks for the whole table, which needs no iteration.
        match within(self.rows.first_key_value()) && within(self.rows.last_key_value()) {
            true => self.rows.len(),
            false => self.commits(keys).count(),
        }
    }

    /// Returns the numbers of all visible rows.
    pub(super) fn ids(&self) -> Vec<i64> {
        match self.columns.id.is_number() {
            true => self.rows.values().map(|commit| commit.number).collect(),
            false => self.keys.keys().copied().collect(),
        }
    }

    /// Returns true when a row with this key is visible.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.rows.contains_key(key)
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

    fn with_id(id: &str) -> Record {
        Record::from_iter([("id".to_owned(), id.into())])
    }

    #[test]
    fn rows_with_other_ids_are_found_by_their_numbers() {
        let at = Timestamp::UNIX_EPOCH;
        for id_type in [IdType::Uuid, IdType::Text] {
            let mut table = Table::new(Columns { id: id_type, ..Columns::default() });
            let (first, second) = (table.reserve(), table.reserve());
            let before = table.id_text(first);
            for number in [second, first] {
                let row = table.commit(number, Record::new(), at).expect("a new id");
                assert_eq!(row["id"], table.id_text(number));
            }
            assert_eq!((table.ids(), table.id_text(first)), (vec![first, second], before.clone()));
            assert!(table.commit(first, Record::new(), at).is_none(), "the id is taken");
            let third = table.reserve();
            assert!(table.commit(third, with_id(&before), at).is_none(), "the id is taken");

            let deleted = table.delete(first, at).expect("a row");
            assert_eq!((&deleted["id"], table.id_text(first)), (&before.as_str().into(), before.clone()));
            assert!(table.delete(first, at).is_none() && table.update(first, &Record::new(), at).is_none());
            table.commit(third, with_id(&before), at).expect("the id is free again");
            assert_eq!((table.ids(), table.id_text(third)), (vec![second, third], before.clone()));

            table.truncate_restart_identity();
            let anew = table.reserve();
            table.commit(anew, Record::new(), at).expect("a new id");
            assert_eq!((anew, table.ids()), (first, vec![first]));
            assert_ne!(table.id_text(anew), before);
            assert!(table.commit_all(vec![(5, with_id(&before))], at).is_some());
        }
    }

    #[test]
    fn a_row_keeps_its_number_when_its_id_changes() {
        let (mut table, at) =
            (Table::new(Columns { id: IdType::Uuid, ..Columns::default() }), Timestamp::UNIX_EPOCH);
        for number in [1, 2] {
            table.commit(number, Record::new(), at).expect("a new id");
        }
        let (old, chosen) = (table.id_text(1), "0b4ee0c0-5b7e-4b0c-8d0e-2a6f4c1d9e11");
        assert!(table.update(1, &with_id("0"), at).is_none(), "no uuid");
        assert!(table.update(1, &with_id(&table.id_text(2)), at).is_none(), "taken");
        assert_eq!(table.update(1, &with_id(&chosen.to_uppercase()), at).expect("a row")["id"], chosen);
        assert_eq!((table.ids(), table.id_text(1)), (vec![1, 2], chosen.to_owned()));
        let logged = table.since(2);
        assert_eq!(logged[0].old.as_ref().map(|old| &old["id"]), Some(&old.as_str().into()));
        assert!(table.holds(&logged[0].key) && !table.holds(&Key::Text(old.as_str().into())));
        table.delete(1, at);
        assert_eq!((table.ids(), table.id_text(1)), (vec![2], chosen.to_owned()));
        let places = Place::FIRST..Place::LAST;
        assert_eq!((table.rows_by_time(places).count(), table.count(Cut::First..Cut::Last)), (1, 1));
    }
}
