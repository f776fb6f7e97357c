//! Rows of one answer: decoded, unreadable, and held against the question.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::access::{Columns, Malformed};
use super::rest_error::RestError;
use crate::correction::Row;
use crate::row_identity::RowId;

/// A record as PostgREST writes it.
pub(super) type Record = Map<String, Value>;

/// Rows that one call read from the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Rows that could be decoded.
    pub rows: Vec<Row>,
    /// Rows that could not be decoded.
    pub malformed: Vec<Malformed>,
    /// Rows that can't be read, although their ids can. Reading goes on after them.
    pub unreadable: Vec<Unreadable>,
    /// Highest id among all of them, as a number; `None` only when the page is empty. Only an empty page
    /// means the end of the table: a short page may come from the server's row limit.
    pub last_id: Option<i64>,
}

/// A row that can't be read even alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Id of the row.
    pub id: RowId,
    /// Reason.
    pub reason: UnreadableReason,
}

/// Reason why a row can't be read even alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadableReason {
    /// The row is larger than any answer may be, so it is too long to train on, too.
    TooLarge,
    /// The database failed at this row again and again.
    DatabaseFails,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            UnreadableReason::TooLarge => "is too large to be read",
            UnreadableReason::DatabaseFails => "can't be read: the database fails at it every time",
        };
        write!(formatter, "row {} {reason}", self.id)
    }
}

impl Page {
    /// Returns a page with one row that can't be read.
    pub(super) fn of_unreadable(id: RowId, reason: UnreadableReason) -> Self {
        let last_id = Some(id.number());
        Self { unreadable: vec![Unreadable { id, reason }], last_id, ..Self::default() }
    }

    /// Decodes the records of an answer.
    ///
    /// # Errors
    /// [`RestError::NoIds`].
    pub(super) fn decode(columns: &Columns, records: &[Record]) -> Result<Self, RestError> {
        let page = Self::decode_any(columns, records);
        if page.last_id.is_none() && !records.is_empty() { Err(RestError::NoIds) } else { Ok(page) }
    }

    /// Decodes the records of an answer, even if none has an id that can be used.
    pub(super) fn decode_any(columns: &Columns, records: &[Record]) -> Self {
        let mut page = Self::default();
        for record in records {
            page.last_id = page.last_id.max(columns.id_of(record).map(|id| id.number()));
            match columns.decode(record) {
                Ok(row) => page.rows.push(row),
                Err(malformed) => page.malformed.push(malformed),
            }
        }
        page
    }

    /// Returns the ids of all rows as numbers, as far as they could be read.
    pub fn ids(&self) -> BTreeSet<i64> {
        let rows = self.rows.iter().map(|row| row.id);
        let malformed =
            self.malformed.iter().filter_map(|malformed| malformed.id.as_ref().map(RowId::number));
        let unreadable = self.unreadable.iter().map(|unreadable| unreadable.id.number());
        rows.chain(malformed).chain(unreadable).collect()
    }

    /// Appends another page.
    pub(super) fn append(&mut self, page: Self) {
        self.rows.extend(page.rows);
        self.malformed.extend(page.malformed);
        self.unreadable.extend(page.unreadable);
        self.last_id = self.last_id.max(page.last_id);
    }
}

/// Checks that an answer holds only ids above `after` and up to `last`, in ascending order.
///
/// A cache that ignores the query, or a proxy that drops a part of it, answers with other rows. With
/// these, reading would never advance, or skip rows.
///
/// # Errors
/// [`RestError::NotAsked`], [`RestError::IdsBecameTexts`].
pub(super) fn check_range(
    columns: &Columns,
    records: &[Record],
    after: i64,
    last: i64,
) -> Result<(), RestError> {
    check_kind(columns, records)?;
    let mut before = after;
    for id in records.iter().filter_map(|record| columns.number_of(record)) {
        // Ids of one page may repeat: a view need not have a key.
        let ascends = id > before || (id == before && id > after);
        if !ascends || id > last {
            return Err(RestError::NotAsked { got: RowId::of_number(id) });
        }
        before = id;
    }
    Ok(())
}

/// Checks that no id is a text, in a table that is read in the order of its ids. Texts are in another
/// order than numbers ("10" is before "9"), so a cursor would skip rows.
fn check_kind(columns: &Columns, records: &[Record]) -> Result<(), RestError> {
    match records.iter().any(|record| record.get(&columns.id).is_some_and(Value::is_string)) {
        true => Err(RestError::IdsBecameTexts { column: columns.id.clone() }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn records(ids: &[Value]) -> Vec<Record> {
        ids.iter().map(|id| Record::from_iter([("id".to_owned(), id.clone())])).collect()
    }

    fn check(ids: &[i64], after: i64, last: i64) -> Result<(), RestError> {
        let ids: Vec<_> = ids.iter().map(|id| json!(id)).collect();
        check_range(&Columns::default(), &records(&ids), after, last)
    }

    #[test]
    fn rows_that_were_not_asked_for_are_told() {
        assert!(check(&[], 5, 9).is_ok() && check(&[6, 7, 7, 9], 5, 9).is_ok());
        assert!(matches!(check(&[1, 2], 5, 9), Err(RestError::NotAsked { got }) if got.number() == 1));
        assert!(matches!(check(&[5], 5, 9), Err(RestError::NotAsked { .. })), "the cursor itself");
        assert!(matches!(check(&[6, 10], 5, 9), Err(RestError::NotAsked { .. })));
        assert!(matches!(check(&[8, 6], 5, 9), Err(RestError::NotAsked { got }) if got.number() == 6));
    }

    #[test]
    fn ids_that_became_texts_are_told() {
        let texts = records(&[json!("10"), json!("9")]);
        let error = check_range(&Columns::default(), &texts, 0, i64::MAX).unwrap_err();
        assert!(matches!(&error, RestError::IdsBecameTexts { column } if column == "id"), "{error:?}");
        let none = Page::decode(&Columns::default(), &records(&[json!(1.5)])).unwrap_err();
        assert!(matches!(none, RestError::NoIds), "{none:?}");
    }

    proptest! {
        #[test]
        fn a_page_that_passes_always_advances(ids in proptest::collection::vec(-3_i64..12, 1..6), after in 0_i64..9) {
            if check(&ids, after, i64::MAX).is_ok() {
                prop_assert!(ids.last().is_some_and(|last| *last > after) && ids.is_sorted());
            }
        }
    }
}
