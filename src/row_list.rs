//! Rows in few large pieces of memory.
//!
//! A million [`Row`]s are four million small pieces, 256 MB of them, and pieces that are freed stay with
//! the process while others lie between them. A list of a million rows takes about 100 MB, and gives it
//! back when it is dropped.

use std::collections::HashMap;

use crate::correction::Row;

/// Length that stands for a text that a row doesn't have.
const NONE: u32 = u32::MAX;

/// Rows in the order in which they were added.
#[derive(Clone, Default)]
pub struct RowList {
    rows: Vec<Packed>,
    /// Typo, correction, time of the insert and id of each row, one after the other.
    texts: String,
    /// Domains, of which there are few, and their places.
    domains: Vec<Box<str>>,
    known_domains: HashMap<Box<str>, u32>,
}

/// A row without its texts.
#[derive(Debug, Clone, Copy)]
struct Packed {
    id: i64,
    /// Place of the first text in `texts`, in bytes.
    start: usize,
    /// Lengths of the texts in bytes.
    typo: u32,
    corrected: u32,
    created_at: u32,
    text_id: u32,
    /// Place of the domain in `domains`.
    domain: u32,
}

impl RowList {
    /// Adds a row.
    ///
    /// # Panics
    /// When a text has 4 GiB or more; every reader of rows limits them to far less.
    pub fn push(&mut self, row: &Row) {
        let start = self.texts.len();
        let mut add = |text: &str| {
            assert!(text.len() < NONE as usize, "a text is below 4 GiB");
            self.texts.push_str(text);
            text.len() as u32
        };
        let (typo, corrected) = (add(&row.typo), add(&row.corrected));
        let created_at = row.created_at.as_deref().map_or(NONE, &mut add);
        let text_id = row.text_id.as_deref().map_or(NONE, &mut add);
        let domain = match self.known_domains.get(row.domain.as_str()) {
            Some(known) => *known,
            None => {
                let (domain, next) = (Box::<str>::from(row.domain.as_str()), self.domains.len() as u32);
                self.domains.push(domain.clone());
                self.known_domains.insert(domain, next);
                next
            }
        };
        self.rows.push(Packed { id: row.id, start, typo, corrected, created_at, text_id, domain });
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns true when there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the row at a place.
    ///
    /// # Panics
    /// When there are fewer rows.
    pub fn row(&self, place: usize) -> Row {
        let Packed { id, start, typo, corrected, created_at, text_id, domain } = self.rows[place];
        let mut rest = &self.texts[start..];
        let mut take = |length: u32| {
            let (text, after) = rest.split_at(length as usize);
            rest = after;
            text
        };
        let (typo, corrected) = (take(typo).to_owned(), take(corrected).to_owned());
        let created_at = (created_at != NONE).then(|| take(created_at).to_owned());
        let text_id = (text_id != NONE).then(|| take(text_id).into());
        let domain = self.domains[domain as usize].to_string();
        Row { id, text_id, typo, corrected, domain, created_at }
    }

    /// Returns the id of the row at a place.
    ///
    /// # Panics
    /// When there are fewer rows.
    pub fn id(&self, place: usize) -> i64 {
        self.rows[place].id
    }

    /// Returns true when the id of the row at a place is a text.
    ///
    /// # Panics
    /// When there are fewer rows.
    pub fn has_text_id(&self, place: usize) -> bool {
        self.rows[place].text_id != NONE
    }

    /// Returns all rows.
    pub fn iter(&self) -> impl Iterator<Item = Row> + Clone {
        (0..self.len()).map(|place| self.row(place))
    }
}

impl Extend<Row> for RowList {
    fn extend<I: IntoIterator<Item = Row>>(&mut self, rows: I) {
        rows.into_iter().for_each(|row| self.push(&row));
    }
}

impl FromIterator<Row> for RowList {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        let mut list = Self::default();
        list.extend(rows);
        list
    }
}

impl From<Vec<Row>> for RowList {
    fn from(rows: Vec<Row>) -> Self {
        rows.into_iter().collect()
    }
}

impl PartialEq for RowList {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for RowList {}

/// Writes no text of a row.
impl std::fmt::Debug for RowList {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_come_back_as_they_were(
            rows in prop::collection::vec(
                (any::<i64>(), ".{0,8}", ".{0,8}", "[ab]{0,2}", prop::option::of(".{0,8}"), prop::option::of(".{0,4}")),
                0..40,
            ),
        ) {
            let rows: Vec<Row> = rows
                .into_iter()
                .map(|(id, typo, corrected, domain, created_at, text_id)| {
                    Row { id, text_id: text_id.map(Into::into), typo, corrected, domain, created_at }
                })
                .collect();
            let list = RowList::from(rows.clone());
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), rows);
        }
    }
}
