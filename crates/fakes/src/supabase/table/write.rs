//! Writes as a client asks for them: planned first, so that a statement that fails changes nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::super::postgres::column::COLUMNS;
use super::super::postgres::primary_key::Key;
use super::super::postgres::sql_error::SqlError;
use super::{Record, Table};

/// A row to insert. Columns that are missing get their defaults.
#[derive(Debug)]
pub(in crate::supabase) struct NewRow {
    pub(in crate::supabase) number: i64,
    pub(in crate::supabase) values: Record,
}

/// Treatment of a row to insert whose id is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supabase) enum OnConflict {
    Refuse,
    Ignore,
    /// Updates the columns of the row to insert.
    Merge,
}

/// Change of one row, which has passed every check.
#[derive(Debug)]
enum Step {
    Insert(i64, Record),
    Update(i64, Record),
    Delete(i64),
}

/// Changes of a statement in their order.
#[derive(Debug, Default)]
pub(in crate::supabase) struct Changes {
    steps: Vec<Step>,
}

impl Changes {
    /// Returns the number of rows that change.
    pub(in crate::supabase) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Returns the number of rows that are inserted.
    pub(in crate::supabase) fn inserts(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Insert(..))).count()
    }
}

impl Table {
    /// Plans an insert.
    pub(in crate::supabase) fn plan_insert(
        &self,
        name: &str,
        rows: Vec<NewRow>,
        conflict: OnConflict,
        at: Timestamp,
    ) -> Result<Changes, SqlError> {
        let mut changes = Changes::default();
        // Keys of the rows so far.
        let mut own = BTreeSet::new();
        for NewRow { number, values } in rows {
            let key = self.key_of_new(number, &values);
            let row = self.with_defaults(&key, values.clone(), at);
            self.columns.check(name, &row)?;
            let repeated = !own.insert(key.clone());
            let taken = self.rows.get(&key);
            match (taken, conflict) {
                (None, _) if !repeated => changes.steps.push(Step::Insert(number, row)),
                (_, OnConflict::Ignore) => {}
                (Some(commit), OnConflict::Merge) if !repeated => {
                    let mut merged = commit.record.clone();
                    merged.extend(values);
                    self.columns.check(name, &merged)?;
                    changes.steps.push(Step::Update(commit.number, merged));
                }
                (_, OnConflict::Merge) => {
                    let text = "ON CONFLICT DO UPDATE command cannot affect row a second time";
                    let hint = "Ensure that no rows proposed for insertion within the same command have \
                                duplicate constrained values.";
                    return Err(SqlError::new("21000", text).hint(hint));
                }
                (_, OnConflict::Refuse) => return Err(taken_error(name, &key)),
            }
        }
        Ok(changes)
    }

    /// Plans an update of rows that exist to these values.
    pub(in crate::supabase) fn plan_update(
        &self,
        name: &str,
        numbers: Vec<i64>,
        values: &Record,
    ) -> Result<Changes, SqlError> {
        let mut changes = Changes::default();
        for (place, number) in numbers.into_iter().enumerate() {
            let Some((old, commit)) = self.key(number).and_then(|key| self.rows.get_key_value(&key)) else {
                continue;
            };
            let mut row = commit.record.clone();
            row.extend(values.clone());
            self.columns.check(name, &row)?;
            // The values are of their columns' types, so an id that is there has a key.
            if let Some(key) = values.get("id").and_then(Key::of)
                && (place > 0 || (key != *old && self.rows.contains_key(&key)))
            {
                return Err(taken_error(name, &key));
            }
            changes.steps.push(Step::Update(number, row));
        }
        Ok(changes)
    }

    /// Plans the deletion of rows.
    pub(in crate::supabase) fn plan_delete(numbers: Vec<i64>) -> Changes {
        Changes { steps: numbers.into_iter().map(Step::Delete).collect() }
    }

    /// Makes the changes as one transaction, and returns the rows after it, or before a deletion.
    pub(in crate::supabase) fn apply(&mut self, changes: Changes, at: Timestamp) -> Vec<Record> {
        let steps = changes.steps.into_iter();
        let apply = |step| match step {
            Step::Insert(number, row) => self.commit(number, row, at),
            Step::Update(number, row) => self.update(number, &row, at),
            Step::Delete(number) => self.delete(number, at),
        };
        steps.filter_map(apply).collect()
    }

    /// Returns a row with the defaults of its missing columns.
    fn with_defaults(&self, key: &Key, mut values: Record, at: Timestamp) -> Record {
        let id = values.remove("id").filter(serde_json::Value::is_null).unwrap_or_else(|| key.value());
        values.insert("id".to_owned(), id);
        values.entry("created_at").or_insert_with(|| self.columns.moment(at));
        let column = |name: &&str| ((*name).to_owned(), values.remove(*name).unwrap_or_default());
        COLUMNS.iter().map(column).collect()
    }
}

fn taken_error(table: &str, key: &Key) -> SqlError {
    let text = format!("duplicate key value violates unique constraint \"{table}_pkey\"");
    SqlError::new("23505", text).details(format!("Key (id)=({}) already exists.", key.text()))
}
