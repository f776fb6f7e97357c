//! Tables whose ids are texts, such as UUIDs: rows are read in the order of their inserts.
//!
//! The order of such ids says nothing about time, so a cursor over them would miss new rows. The sweep
//! reads by the time of the insert and, within one moment, by id. Three things make this complete. A row
//! may be committed some minutes after the time it bears, so each sweep looks back over these minutes. A
//! row may bear any other time, or none: the [audit](super::audit) counts rows, and compares every id when
//! the counts differ. And a row of which the time lies ahead is read once that time has come.
//!
//! Changes and deletions are found the other way round than with whole numbers: a page of kept ids is
//! looked up in the table, so the order in which the database sorts texts does not matter.

use jiff::Timestamp;
use serde_json::Value;
use tracing::debug;

use super::inbox::{Inbox, InsertPlace, Position};
use super::page::{Page, Record};
use super::rest::{Question, Table, beyond};
use super::rest_error::RestError;
use super::sweep::{Sweep, SweepError, Swept};
use super::updates::LATE_COMMIT;
use crate::failure::chain;
use crate::postgres_time::PostgresTime;
use crate::row_identity::RowId;

/// Kind of a table's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdKind {
    /// Whole numbers, which increase.
    Number,
    /// Texts.
    Text,
}

impl<I: Inbox> Sweep<'_, I> {
    /// Sweeps as [`run`](Self::run) does, in the order of inserts.
    pub(super) async fn run_by_insert(
        &self,
        position: &mut Position,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        match &position.inserted {
            Some(place) => self.look_back_by_insert(&place.clone(), swept).await?,
            None => position.compared = i64::MIN,
        }
        self.read_on_by_insert(position, swept).await?;
        let before = position.clone();
        // Whatever keeps updates from being read, the comparison finds them, too.
        match Box::pin(self.read_updates(position, swept)).await {
            Err(SweepError::Rest(error)) => debug!(error = chain(&error), "the updates can't be read"),
            read => read?,
        }
        Box::pin(self.compare_text_ids(position, swept)).await?;
        if *position != before {
            self.in_time(self.inbox.advance(position)).await?;
        }
        Ok(())
    }

    async fn look_back_by_insert(&self, last: &InsertPlace, swept: &mut Swept) -> Result<(), SweepError> {
        let Some(begin) = PostgresTime::read(&last.at) else { return Ok(()) };
        let Ok(begin) = begin.at.checked_sub(LATE_COMMIT) else { return Ok(()) };
        // No row has this place: a text is never empty.
        let mut place = InsertPlace { at: begin.to_string(), id: String::new() };
        loop {
            let (mut ids, next) = self.table.ids_inserted_after(&place, &last.at, self.page).await?;
            let Some(next) = next else { return Ok(()) };
            place = next;
            self.reported.leave_out(&mut ids);
            self.read_missing(ids, swept).await?;
        }
    }

    async fn read_on_by_insert(&self, position: &mut Position, swept: &mut Swept) -> Result<(), SweepError> {
        // The worker's clock may be behind the database's.
        let until = Timestamp::now().saturating_add(LATE_COMMIT).unwrap_or(Timestamp::MAX).to_string();
        let mut read = 0;
        let mut answer = self.table.inserted_after(position.inserted.as_ref(), &until, self.page).await?;
        while let (page, Some(last)) = answer {
            read += (page.rows.len() + page.malformed.len() + page.unreadable.len()) as u64;
            let reached = Position { inserted: Some(last.clone()), ..position.clone() };
            // As in the sweep by id, this page is kept even when reading the next one fails.
            let keep = async {
                self.hand_over(page, swept).await?;
                self.in_time(self.inbox.advance(&reached)).await
            };
            let (kept, next) = tokio::join!(keep, self.table.inserted_after(Some(&last), &until, self.page));
            kept?;
            *position = reached;
            (self.progress)(read, position.cursor);
            answer = next?;
        }
        Ok(())
    }

    /// Looks up the next page of kept ids in the table. After the last page, begins a new round.
    async fn compare_text_ids(&self, position: &mut Position, swept: &mut Swept) -> Result<(), SweepError> {
        let kept = self.in_time(self.inbox.text_ids_after(position.compared, self.compare)).await?;
        if !kept.is_empty() {
            let page = self.table.rows_by_id(&kept).await?;
            let shown = page.ids();
            self.compare(page, swept).await?;
            self.follow_vanished(&kept, &shown, swept).await?;
        }
        position.compared = match kept.last() {
            Some(last) if kept.len() >= self.compare => last.number(),
            _ => {
                self.end_round(swept);
                i64::MIN
            }
        };
        Ok(())
    }

    /// Hands over every row that was never kept, by comparing all ids.
    pub(super) async fn read_every_missing_text_id(&self, swept: &mut Swept) -> Result<(), SweepError> {
        let mut after = None;
        loop {
            let (ids, last) = self.table.text_ids_after(after.as_deref(), self.page).await?;
            let Some(last) = last else { return Ok(()) };
            after = Some(last);
            self.read_missing(ids, swept).await?;
        }
    }
}

impl Table {
    /// Returns true once the table turned out to have ids that are texts.
    pub(super) fn has_text_ids(&self) -> bool {
        self.id_kind.get() == Some(&IdKind::Text)
    }

    /// Returns the kind of the table's ids, as the position of earlier sweeps or else a row tells it; `None`
    /// for an empty table that no row was read from.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn id_kind(&self, position: &Position) -> Result<Option<IdKind>, RestError> {
        if let Some(kind) = self.id_kind.get() {
            return Ok(Some(*kind));
        }
        let kind = match position {
            Position { inserted: Some(_), .. } => IdKind::Text,
            Position { cursor, series, .. } if *cursor != 0 || *series != 0 => IdKind::Number,
            _ => {
                let column = self.access().columns.id.as_str();
                let question = Question { select: column, filters: Vec::new(), order: self.by_id() };
                let records = self.read(&question, 1).await?;
                match records.first().map(|record| record.get(column)) {
                    None => return Ok(None),
                    Some(Some(Value::String(_))) => IdKind::Text,
                    Some(Some(Value::Number(_))) => IdKind::Number,
                    Some(_) => return Err(RestError::NoIds),
                }
            }
        };
        Ok(Some(*self.id_kind.get_or_init(|| kind)))
    }

    /// Reads a row as a sweep does. This proves that every column exists, and that the rows have an order.
    /// The count alone proves neither.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn check(&self) -> Result<(), RestError> {
        match self.id_kind(&Position::default()).await? {
            Some(IdKind::Number) => self.page_after(0, 1).await.map(drop),
            Some(IdKind::Text) => self.inserted_after(None, &Timestamp::now().to_string(), 1).await.map(drop),
            None => {
                let select = self.select();
                let question = Question { select: &select, filters: Vec::new(), order: self.by_id() };
                match self.read(&question, 1).await {
                    Err(error) if self.goes_on_undated(&error) => Ok(()),
                    read => read.map(drop),
                }
            }
        }
    }

    /// Returns the next rows in the order of inserts, up to a time, and the place of the last one; `None`
    /// when there are no more. A row that can't be read even alone is in [`Page::unreadable`].
    ///
    /// # Errors
    /// [`RestError::NoOrder`] for a table without the time of the insert; otherwise [`RestError`].
    async fn inserted_after(
        &self,
        place: Option<&InsertPlace>,
        until: &str,
        limit: usize,
    ) -> Result<(Page, Option<InsertPlace>), RestError> {
        let columns = &self.access().columns;
        if self.is_undated() {
            return Err(RestError::NoOrder { column: columns.id.clone() });
        }
        let select = self.select();
        let question = self.by_insert(&select, place, until);
        // A number that differs from place to place.
        let number = place.and_then(|place| RowId::of_text(&place.id)).map_or(i64::MIN, |id| id.number());
        match self.read(&question, limit).await {
            Ok(records) => {
                self.size.got_past(number);
                let last = self.last_place(&records, place)?;
                Ok((Page::decode(columns, &records)?, last))
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
                let id = columns.id_of(&record).ok_or(RestError::NoIds)?;
                let last = self.last_place(std::slice::from_ref(&record), place)?;
                Ok((Page::of_unreadable(id, reason), last))
            }
        }
    }

    /// Returns the next ids in the order of inserts, up to a time, and the place of the last one; `None`
    /// when there are no more.
    ///
    /// # Errors
    /// [`RestError`].
    async fn ids_inserted_after(
        &self,
        place: &InsertPlace,
        until: &str,
        limit: usize,
    ) -> Result<(Vec<RowId>, Option<InsertPlace>), RestError> {
        let select = self.place();
        let records = self.read(&self.by_insert(&select, Some(place), until), limit).await?;
        let last = self.last_place(&records, Some(place))?;
        let columns = &self.access().columns;
        Ok((records.iter().filter_map(|record| columns.id_of(record)).collect(), last))
    }

    /// Returns the next ids in the database's own order of texts, and the text of the last one; `None` when
    /// there are no more.
    ///
    /// # Errors
    /// [`RestError`].
    async fn text_ids_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<RowId>, Option<String>), RestError> {
        let columns = &self.access().columns;
        let column = columns.id.as_str();
        let filters = after.map(|after| (column, format!("gt.{after}"))).into_iter().collect();
        let question = Question { select: column, filters, order: self.by_id() };
        let records = self.read(&question, limit).await?;
        let last = records.last().map(|last| text(last, column)).transpose()?;
        if last.is_some() && last.as_deref() == after {
            return Err(RestError::SamePage);
        }
        Ok((records.iter().filter_map(|record| columns.id_of(record)).collect(), last))
    }

    /// Returns the columns that are a row's place in the order of inserts.
    fn place(&self) -> String {
        let columns = &self.access().columns;
        format!("{},{}", columns.id, columns.created_at)
    }

    /// Builds the question for the rows after a place and up to a time.
    fn by_insert<'q>(&'q self, select: &'q str, place: Option<&InsertPlace>, until: &str) -> Question<'q> {
        let columns = &self.access().columns;
        let (id, created_at) = (columns.id.as_str(), columns.created_at.as_str());
        let after = place.map(|InsertPlace { at, id: last }| match last.as_str() {
            "" => (created_at, format!("gte.{at}")),
            last => ("or", beyond((created_at, at), (id, Some(last.to_owned())))),
        });
        let until = (created_at, format!("lte.{until}"));
        let filters = after.into_iter().chain([until]).collect();
        Question { select, filters, order: format!("{created_at}.asc,{id}.asc") }
    }

    /// Returns the place of the last of these records, which were asked for as those after a place.
    ///
    /// # Errors
    /// [`RestError::NotAsked`], [`RestError::SamePage`] when a cache or a proxy has answered with other
    /// rows: reading would never advance. [`RestError::IdsBecameNumbers`], [`RestError::NoIds`].
    fn last_place(
        &self,
        records: &[Record],
        after: Option<&InsertPlace>,
    ) -> Result<Option<InsertPlace>, RestError> {
        let columns = &self.access().columns;
        let mut last = after.cloned();
        for record in records {
            if record.get(&columns.id).is_some_and(Value::is_number) {
                return Err(RestError::IdsBecameNumbers { column: columns.id.clone() });
            }
            let next = InsertPlace { at: text(record, &columns.created_at)?, id: text(record, &columns.id)? };
            if last.as_ref() == Some(&next) {
                return Err(RestError::SamePage);
            }
            let time = |place: &InsertPlace| PostgresTime::read(&place.at).map(|read| read.at);
            if let Some(before) = &last
                && time(&next) < time(before)
                && let Some(got) = RowId::of_text(&next.id)
            {
                return Err(RestError::NotAsked { got });
            }
            last = Some(next);
        }
        Ok(if records.is_empty() { None } else { last })
    }
}

fn text(record: &Record, column: &str) -> Result<String, RestError> {
    record.get(column).and_then(Value::as_str).map(str::to_owned).ok_or(RestError::NoIds)
}
