//! Tables whose ids are texts, such as UUIDs: rows are read in the order of their inserts.
//!
//! The order of such ids says nothing about time, so a cursor over them would miss new rows. The sweep
//! reads by the time of the insert and, within one moment, by id. Three things make this complete. A row
//! may be committed some minutes after the time it bears, so each sweep looks back over these minutes. A
//! row may bear any other time, or none: the [audit](super::audit) counts rows, and compares every id when
//! the counts differ. And a row of which the time lies ahead is read once that time has come.
//!
//! An id may be any text that somebody chose. One that is too long for an address, or that can't be an id
//! here, is passed by together with the rows after it that bear the same time; the audit reads those.
//!
//! Changes and deletions are found the other way round than with whole numbers: a page of kept ids is
//! looked up in the table, so the order in which the database sorts texts does not matter.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tracing::{debug, warn};

use super::access::Malformed;
use super::inbox::{Inbox, InsertPlace, Position};
use super::page::{Page, Record};
use super::rest::{Question, Table, beyond};
use super::rest_error::RestError;
use super::sweep::{Sweep, SweepError, Swept};
use super::updates::LATE_COMMIT;
use crate::failure::chain;
use crate::postgres_time::PostgresTime;
use crate::row_identity::{MAX_TEXT_BYTES, RowId, is_uuid};

/// First time that PostgreSQL takes in the usual form, with a day to spare.
const FIRST_TIME: Timestamp = Timestamp::constant(-62_135_510_400, 0);

/// Kind of a table's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdKind {
    /// Whole numbers, which increase.
    Number,
    /// Texts.
    Text,
}

/// Place between two rows in the order of inserts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Before every row of a time.
    Before(String),
    /// After the row with this time and this id.
    After(String, String),
    /// After every row of a time.
    Past(String),
}

impl Place {
    fn at(&self) -> &str {
        match self {
            Self::Before(at) | Self::After(at, _) | Self::Past(at) => at,
        }
    }

    fn of(recorded: InsertPlace) -> Self {
        match recorded {
            InsertPlace { at, id: None } => Self::Before(at),
            InsertPlace { at, id: Some(id) } => Self::After(at, id),
        }
    }

    /// Returns the place as it is recorded. What lies between it and this place is read again after a
    /// restart.
    fn recorded(&self) -> InsertPlace {
        let id = match self {
            Self::After(_, id) if is_uuid(id) => Some(id.clone()),
            _ => None,
        };
        InsertPlace { at: self.at().to_owned(), id }
    }
}

/// Place in the database's own order of texts.
#[derive(Debug, Default)]
struct TextPlace {
    /// Last id that fits into an address.
    after: Option<String>,
    /// Number of longer ids that come next, and were read.
    skipped: usize,
}

/// Part of the sweep's position that is kept in memory only.
#[derive(Debug, Default)]
pub(super) struct InsertProgress(Mutex<Progress>);

#[derive(Debug, Default)]
struct Progress {
    /// Place that the sweep has come to.
    reached: Option<Place>,
    /// Time up to which a look-back has read everything that may still be committed.
    looked_back: Option<String>,
}

impl InsertProgress {
    /// Returns the place to read on from.
    fn begin(&self, recorded: Option<&InsertPlace>) -> Option<Place> {
        let reached = self.progress().reached.clone();
        reached.filter(|reached| Some(&reached.recorded()) == recorded).or(recorded.cloned().map(Place::of))
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Inbox> Sweep<'_, I> {
    /// Sweeps as [`run`](Self::run) does, in the order of inserts.
    pub(super) async fn run_by_insert(
        &self,
        position: &mut Position,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        match &position.inserted {
            Some(place) => self.look_back_by_insert(&place.at, swept).await?,
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

    /// Reads the rows that were committed late, up to this time. Once the time is long past, one look is
    /// enough: an import gives many rows one time.
    async fn look_back_by_insert(&self, last: &str, swept: &mut Swept) -> Result<(), SweepError> {
        let Some(end) = PostgresTime::read(last).map(|read| read.at) else { return Ok(()) };
        if self.inserts.progress().looked_back.as_deref() == Some(last) {
            return Ok(());
        }
        let is_old = end.duration_until(Timestamp::now()) > 2 * LATE_COMMIT;
        // PostgreSQL takes no time of the year 0 in this form.
        let begin = end.checked_sub(LATE_COMMIT).ok().filter(|begin| *begin > FIRST_TIME);
        let mut place = begin.map(|begin| Place::Before(begin.to_string()));
        loop {
            let (mut ids, next) = self.table.ids_inserted_after(place.as_ref(), last, self.page).await?;
            let Some(next) = next else { break };
            place = Some(next);
            self.reported.leave_out(&mut ids);
            self.read_missing(ids, swept).await?;
        }
        if is_old {
            self.inserts.progress().looked_back = Some(last.to_owned());
        }
        Ok(())
    }

    async fn read_on_by_insert(&self, position: &mut Position, swept: &mut Swept) -> Result<(), SweepError> {
        // The worker's clock may be behind the database's.
        let until = Timestamp::now().saturating_add(LATE_COMMIT).unwrap_or(Timestamp::MAX).to_string();
        let mut read = 0;
        let begin = self.inserts.begin(position.inserted.as_ref());
        let mut answer = self.table.inserted_after(begin.as_ref(), &until, self.page).await?;
        while let (page, Some(last)) = answer {
            read += (page.rows.len() + page.malformed.len() + page.unreadable.len()) as u64;
            let reached = Position { inserted: Some(last.recorded()), ..position.clone() };
            // As in the sweep by id, this page is kept even when reading the next one fails.
            let keep = async {
                self.hand_over(page, swept).await?;
                self.in_time(self.inbox.advance(&reached)).await
            };
            let (kept, next) = tokio::join!(keep, self.table.inserted_after(Some(&last), &until, self.page));
            kept?;
            *position = reached;
            self.inserts.progress().reached = Some(last);
            (self.progress)(read, position.cursor);
            answer = next?;
        }
        Ok(())
    }

    /// Looks up the next page of kept ids in the table. After the last page, begins a new round.
    async fn compare_text_ids(&self, position: &mut Position, swept: &mut Swept) -> Result<(), SweepError> {
        let kept = self.in_time(self.inbox.text_ids_after(position.compared, self.compare)).await?;
        match self.compare_texts(&kept, swept).await {
            // One id keeps the others from being looked up.
            Err(error) if error.is_about(&kept) => {
                for id in kept.iter().map(std::slice::from_ref) {
                    match self.compare_texts(id, swept).await {
                        // A column that takes two texts for one, such as `citext`. Which row is meant, only a
                        // person can tell.
                        Err(error) if error.is_about(id) => {
                            warn!(error = chain(&error), "a kept row can't be compared with the table");
                        }
                        compared => compared?,
                    }
                }
            }
            compared => compared?,
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

    async fn compare_texts(&self, kept: &[RowId], swept: &mut Swept) -> Result<(), SweepError> {
        if kept.is_empty() {
            return Ok(());
        }
        let page = self.table.rows_by_id(kept).await?;
        let shown = page.ids();
        self.compare(page, swept).await?;
        self.follow_vanished(kept, &shown, swept).await
    }

    /// Hands over every row that was never kept, by comparing all ids.
    pub(super) async fn read_every_missing_text_id(&self, swept: &mut Swept) -> Result<(), SweepError> {
        let mut place = TextPlace::default();
        while let Some(ids) = self.table.text_ids_after(&mut place, self.page).await? {
            self.read_missing(ids, swept).await?;
        }
        Ok(())
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
                // Not `read`: a failure says nothing of the size of pages.
                let records = self.page(&question, 1).await?;
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
    async fn ids_inserted_after(
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
    async fn text_ids_after(
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

    /// Returns the columns that are a row's place in the order of inserts.
    fn place(&self) -> String {
        let columns = &self.access().columns;
        format!("{},{}", columns.id, columns.created_at)
    }

    /// Builds the question for the rows after a place and up to a time.
    fn by_insert<'q>(&'q self, select: &'q str, place: Option<&Place>, until: &str) -> Question<'q> {
        let columns = &self.access().columns;
        let (id, created_at) = (columns.id.as_str(), columns.created_at.as_str());
        let mut filters = vec![(created_at, format!("lte.{until}"))];
        match place {
            None => {}
            Some(Place::Before(at)) => filters.push((created_at, format!("gte.{at}"))),
            Some(Place::Past(at)) => filters.push((created_at, format!("gt.{at}"))),
            Some(Place::After(at, last)) => {
                // The first filter lets PostgreSQL begin within an index; it can't with the second one alone.
                filters.push((created_at, format!("gte.{at}")));
                filters.push(("or", beyond((created_at, at), (id, Some(last.clone())))));
            }
        }
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
        Ok(last)
    }
}

/// Returns true for an id that can be part of an address.
fn fits(id: &str) -> bool {
    id.len() <= MAX_TEXT_BYTES
}

fn text(record: &Record, column: &str) -> Result<String, RestError> {
    record.get(column).and_then(Value::as_str).map(str::to_owned).ok_or(RestError::NoIds)
}
