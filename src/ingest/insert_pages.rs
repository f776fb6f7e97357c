//! Pages of a table whose ids are texts: in the order of inserts, and in the database's own order of texts.

use jiff::Timestamp;
use serde_json::Value;

use super::access::Malformed;
use super::filters::after_place;
use super::inbox::InsertPlace;
use super::page::{Page, Record};
use super::rest::{Question, Table};
use super::rest_error::RestError;
use crate::postgres_time::PostgresTime;
use crate::row_identity::{MAX_TEXT_BYTES, RowId, is_uuid};

/// Place between two rows in the order of inserts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Before every row of a time.
    Before(String),
    /// After the row with this time and this id.
    After(String, String),
    /// After every row of a time.
    Past(String),
}

impl Place {
    pub(super) fn at(&self) -> &str {
        match self {
            Self::Before(at) | Self::After(at, _) | Self::Past(at) => at,
        }
    }

    pub(super) fn of(recorded: InsertPlace) -> Self {
        match recorded {
            InsertPlace { at, id: None } => Self::Before(at),
            InsertPlace { at, id: Some(id) } => Self::After(at, id),
        }
    }

    /// Returns the place as it is recorded. What lies between it and this place is read again after a
    /// restart.
    pub(super) fn recorded(&self) -> InsertPlace {
        let id = match self {
            Self::After(_, id) if is_uuid(id) => Some(id.clone()),
            _ => None,
        };
        InsertPlace { at: self.at().to_owned(), id }
    }
}

/// Place in the database's own order of texts.
#[derive(Debug, Default)]
pub(super) struct TextPlace {
    /// Last id that fits into an address.
    after: Option<String>,
    /// Number of longer ids that come next, and were read.
    skipped: usize,
}

impl Table {
    /// Returns the next rows in the order of inserts, up to a time, and the place of the last one; `None`
    /// when there are no more. A row that can't be read even alone is in [`Page::unreadable`].
    ///
    /// # Errors
    /// [`RestError::NoOrder`] for a table without the time of the insert; otherwise [`RestError`].
    pub(super) async fn inserted_after(
        &self,
        place: Option<&Place>,
        until: &str,
        limit: usize,
    ) -> Result<(Page, Option<Place>), RestError> {
        let columns = &self.access().columns;
        if self.is_undated() {
            return Err(RestError::NoOrder { column: columns.id.clone() });
        }
        let select = self.select();
        let question = self.by_insert(&select, place, until);
        // A number that differs from place to place.
        let number = match place {
            Some(Place::After(_, id)) => RowId::of_text(id).map_or(0, |id| id.number()),
            Some(Place::Before(_) | Place::Past(_)) | None => i64::MIN,
        };
        match self.read(&question, limit).await {
            Ok(records) => {
                self.size.got_past(number);
                let last = self.last_place(&records, place)?;
                Ok((Page::decode_any(columns, &records), last))
            }
            Err(error) if error.lacks_created_at(self.access()) => {
                Err(RestError::NoOrder { column: columns.id.clone() })
            }
            Err(error) => {
                let select = self.place();
                let question = Question { select: &select, ..question };
                let Some((record, reason)) = self.unreadable(number, question, error).await? else {
                    return Ok((Page::default(), None));
                };
                let last = self.last_place(std::slice::from_ref(&record), place)?;
                let page = match columns.id_of(&record) {
                    Some(id) => Page::of_unreadable(id, reason),
                    None => Page { malformed: vec![Malformed { id: None }], ..Page::default() },
                };
                Ok((page, last))
            }
        }
    }

    /// Returns the next ids in the order of inserts, up to a time, and the place of the last one; `None`
    /// when there are no more.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn ids_inserted_after(
        &self,
        place: Option<&Place>,
        until: &str,
        limit: usize,
    ) -> Result<(Vec<RowId>, Option<Place>), RestError> {
        let select = self.place();
        let records = self.read(&self.by_insert(&select, place, until), limit).await?;
        let last = self.last_place(&records, place)?;
        let columns = &self.access().columns;
        Ok((records.iter().filter_map(|record| columns.id_of(record)).collect(), last))
    }

    /// Returns the next ids in the database's own order of texts, and moves the place behind them; `None`
    /// when there are no more.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn text_ids_after(
        &self,
        place: &mut TextPlace,
        limit: usize,
    ) -> Result<Option<Vec<RowId>>, RestError> {
        let columns = &self.access().columns;
        let column = columns.id.as_str();
        let after = place.after.as_ref().map(|after| (column, format!("gt.{after}")));
        let skipped = (place.skipped > 0).then(|| ("offset", place.skipped.to_string()));
        let filters = after.into_iter().chain(skipped).collect();
        let question = Question { select: column, filters, order: self.by_id() };
        let records = self.read(&question, limit).await?;
        if records.is_empty() {
            return Ok(None);
        }
        let before = place.after.clone();
        for record in &records {
            let id = text(record, column)?;
            *place = match fits(&id) {
                true => TextPlace { after: Some(id), skipped: 0 },
                false => TextPlace { skipped: place.skipped + 1, after: place.after.take() },
            };
        }
        if place.skipped == 0 && place.after == before {
            return Err(RestError::SamePage);
        }
        Ok(Some(records.iter().filter_map(|record| columns.id_of(record)).collect()))
    }

    /// Returns the time at which the oldest row of the table was inserted, to the second; `None` when no row
    /// bears a time that can be read.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn oldest_insert(&self) -> Result<Option<Timestamp>, RestError> {
        let column = self.access().columns.created_at.as_str();
        let filters = vec![(column, "not.is.null".to_owned())];
        let question = Question { select: column, filters, order: format!("{column}.asc") };
        // Not `read`: a failure says nothing of the size of pages.
        let records = self.page(&question, 1).await?;
        let first = records.first().and_then(|record| record.get(column)?.as_str());
        let read = first.and_then(PostgresTime::read).map(|read| read.at.as_second());
        Ok(read.and_then(|second| Timestamp::from_second(second).ok()))
    }

    /// Returns the columns that are a row's place in the order of inserts.
    fn place(&self) -> String {
        let columns = &self.access().columns;
        format!("{},{}", columns.id, columns.created_at)
    }

    /// Builds the question for the rows after a place and up to a time.
    fn by_insert<'q>(&'q self, select: &'q str, place: Option<&Place>, until: &str) -> Question<'q> {
        let columns = &self.access().columns;
        let (id, created_at) = (columns.id.as_str(), columns.created_at.as_str());
        let mut filters = match place {
            None => Vec::new(),
            Some(Place::Before(at)) => after_place((created_at, at), (id, None)),
            Some(Place::After(at, last)) => after_place((created_at, at), (id, Some(last))),
            Some(Place::Past(at)) => vec![(created_at, format!("gt.{at}"))],
        };
        filters.push((created_at, format!("lte.{until}")));
        Question { select, filters, order: format!("{created_at}.asc,{id}.asc") }
    }

    /// Returns the place of the last of these records, which were asked for as those after a place. A view
    /// may repeat a record.
    ///
    /// # Errors
    /// [`RestError::NotAsked`], [`RestError::SamePage`] when a cache or a proxy has answered with other
    /// rows: reading would never advance. [`RestError::IdsBecameNumbers`], [`RestError::NoIds`].
    fn last_place(&self, records: &[Record], after: Option<&Place>) -> Result<Option<Place>, RestError> {
        let columns = &self.access().columns;
        let mut last: Option<Place> = None;
        for record in records {
            if record.get(&columns.id).is_some_and(Value::is_number) {
                return Err(RestError::IdsBecameNumbers { column: columns.id.clone() });
            }
            let (at, id) = (text(record, &columns.created_at)?, text(record, &columns.id)?);
            let next = match fits(&id) {
                true => Place::After(at, id.clone()),
                false => Place::Past(at),
            };
            if last.is_none() && after == Some(&next) {
                return Err(RestError::SamePage);
            }
            let time = |place: &Place| PostgresTime::read(place.at()).map(|read| read.at);
            if let Some(before) = last.as_ref().or(after)
                && time(&next) < time(before)
            {
                return Err(RestError::NotAsked { got: RowId::of_text(&id).unwrap_or(RowId::of_number(0)) });
            }
            last = Some(next);
        }
        // Whatever lies in between, reading on from here would bring the same page again.
        match last.is_some() && last.as_ref() == after {
            true => Err(RestError::SamePage),
            false => Ok(last),
        }
    }
}

/// Returns true for an id that can be part of an address.
fn fits(id: &str) -> bool {
    id.len() <= MAX_TEXT_BYTES
}

fn text(record: &Record, column: &str) -> Result<String, RestError> {
    record.get(column).and_then(Value::as_str).map(str::to_owned).ok_or(RestError::NoIds)
}
