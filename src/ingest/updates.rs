//! Rows that were updated since a given time, for a table that has a column with the time of the last
//! update.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tracing::debug;

use super::answer_kind::AnswerKind;
use super::filters::after_place;
use super::inbox::{Inbox, Position};
use super::page::Record;
use super::rest::{Question, Table};
use super::rest_error::RestError;
use super::sweep::{Sweep, SweepError, Swept};
use crate::postgres_time::PostgresTime;
use crate::row_identity::RowId;

/// Time that a transaction may take between its update of a row and its commit.
pub(super) const LATE_COMMIT: SignedDuration = SignedDuration::from_mins(5);
/// Largest number of updates that are remembered; a forgotten one costs one more look at its row.
const MAX_SEEN: usize = 50_000;
/// Number of pages of updated rows that one sweep reads; the next sweep goes on from there.
const MAX_PAGES: usize = 10;

/// Place in the order of updates: the time of a row's last update, and its id; without an id, the place
/// before every row with that time.
type UpdatePlace = (String, Option<RowId>);

impl<I: Inbox> Sweep<'_, I> {
    /// Looks at the rows that were updated since the last sweep, where the table has a column with the
    /// time of the last update. An update may be committed late, so each sweep begins some minutes
    /// before the newest update, until that one is old. A row whose update was seen is not read again.
    pub(super) async fn read_updates(
        &self,
        position: &mut Position,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        if !self.table.may_have_updated_at() {
            return Ok(());
        }
        let Some(mark) = position.updated.clone() else {
            // Earlier updates are left to the comparison.
            position.updated = self.table.newest_update().await?;
            return Ok(());
        };
        let mut seen = self.updates.lock().await;
        let mut place = seen.next_place(&mark, Timestamp::now());
        for _ in 0..MAX_PAGES {
            let (rows, next) = self.table.updated_after(&place, self.page).await?;
            let Some(next) = next else {
                seen.reached_the_end();
                return Ok(());
            };
            // Ids above the cursor were not read yet: this is no update, but a row inserted just now.
            let is_read = |id: &RowId| id.text().is_some() || id.number() <= position.cursor;
            let mut ids: Vec<RowId> = rows
                .iter()
                .filter(|(id, at)| is_read(id) && !seen.contains(id.number(), at))
                .map(|(id, _)| id.clone())
                .collect();
            self.reported.leave_out(&mut ids);
            self.revise(&ids, &BTreeSet::new(), swept).await?;
            rows.into_iter().for_each(|(id, at)| seen.add(id.number(), at));
            if !is_in_the_future(&next.0, Timestamp::now()) {
                position.updated = Some(next.0.clone());
            }
            seen.reached(&next);
            place = next;
        }
        Ok(())
    }
}

impl Table {
    /// Returns false once the table turned out to have no column with the time of the last update.
    fn may_have_updated_at(&self) -> bool {
        !self.updated_at().is_empty() && !self.lacks_updated_at.load(Ordering::Relaxed)
    }

    /// Answers a question about updates. `None` when the table has no such column, which is told once.
    async fn ask_for_updates(
        &self,
        question: &Question<'_>,
        limit: usize,
    ) -> Result<Option<Vec<Record>>, RestError> {
        match self.read(question, limit).await {
            Ok(records) => Ok(Some(records)),
            Err(RestError::Answer(answer)) if answer.kind == AnswerKind::MissingColumn => {
                if !self.lacks_updated_at.swap(true, Ordering::Relaxed) {
                    debug!(
                        column = self.updated_at(),
                        "the table has no such column; changes are found by comparison"
                    );
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the time of the last update of any row.
    ///
    /// # Errors
    /// [`RestError`].
    async fn newest_update(&self) -> Result<Option<String>, RestError> {
        let column = self.updated_at();
        let filters = vec![(column, "not.is.null".to_owned())];
        let question = Question { select: column, filters, order: format!("{column}.desc") };
        let page = self.ask_for_updates(&question, 1).await?.unwrap_or_default();
        Ok(page.first().and_then(|record| text(record, column)))
    }

    /// Returns id and time of update of the next rows after a place in the order of updates, at most
    /// `limit`, and the place of the last one; `None` when there are no more.
    ///
    /// # Errors
    /// [`RestError`].
    async fn updated_after(
        &self,
        place: &UpdatePlace,
        limit: usize,
    ) -> Result<(Vec<(RowId, String)>, Option<UpdatePlace>), RestError> {
        let columns = &self.access().columns;
        let column = self.updated_at();
        let select = format!("{},{column}", columns.id);
        let (since, id) = place;
        let last = id.as_ref().map(|id| id.text().map_or_else(|| id.to_string(), str::to_owned));
        let filters = after_place((column, since), (&columns.id, last.as_deref()));
        let order = format!("{column}.asc,{}.asc", columns.id);
        let question = Question { select: &select, filters, order };
        let records = self.ask_for_updates(&question, limit).await?.unwrap_or_default();
        let last = records.last().and_then(|last| Some((text(last, column)?, Some(columns.id_of(last)?))));
        // A page that ends where it began would be asked for again without end.
        let last = last.filter(|last| last != place);
        let rows = records.iter().filter_map(|record| Some((columns.id_of(record)?, text(record, column)?)));
        Ok((rows.collect(), last))
    }

    fn updated_at(&self) -> &str {
        &self.access().columns.updated_at
    }
}

fn text(record: &Record, column: &str) -> Option<String> {
    record.get(column).and_then(Value::as_str).map(str::to_owned)
}

/// Updates that this process has seen.
#[derive(Debug, Default)]
pub(super) struct SeenUpdates {
    rows: HashMap<i64, String>,
    /// Place up to which updates were read last, and whether it was the end.
    reached: Option<(UpdatePlace, bool)>,
}

impl SeenUpdates {
    /// Returns the place to begin at. `mark` is the time of the newest update that was read.
    fn next_place(&self, mark: &str, now: Timestamp) -> UpdatePlace {
        let at = PostgresTime::read(mark).map(|read| read.at);
        match &self.reached {
            // The last sweep did not come to the end.
            Some((place, false)) => return place.clone(),
            // Whatever was updated up to this place is committed by now.
            Some((place, true)) if at.is_some_and(|at| now.duration_since(at) > LATE_COMMIT * 2) => {
                return place.clone();
            }
            Some(_) | None => {}
        }
        let since = at.and_then(|at| at.checked_sub(LATE_COMMIT).ok());
        (since.map_or_else(|| mark.to_owned(), |since| since.to_string()), None)
    }

    fn contains(&self, id: i64, at: &str) -> bool {
        self.rows.get(&id).is_some_and(|seen| seen == at)
    }

    fn add(&mut self, id: i64, at: String) {
        if self.rows.len() >= MAX_SEEN {
            self.rows.clear();
        }
        self.rows.insert(id, at);
    }

    fn reached(&mut self, place: &UpdatePlace) {
        self.reached = Some((place.clone(), false));
    }

    fn reached_the_end(&mut self) {
        if let Some((_, is_end)) = &mut self.reached {
            *is_end = true;
        }
    }
}

/// Returns true for a time after `now`. A client may set any time.
pub(super) fn is_in_the_future(at: &str, now: Timestamp) -> bool {
    PostgresTime::read(at).is_some_and(|read| read.at > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_sweep_begins_before_the_newest_update_until_that_one_is_old() {
        let mut seen = SeenUpdates::default();
        let mark = "2026-01-01T00:10:00.5+00:00";
        let begins = |seen: &SeenUpdates, now: &str| seen.next_place(mark, at(now));
        let before = ("2026-01-01T00:05:00.5Z".to_owned(), None);
        assert_eq!(begins(&seen, "2026-01-01T00:11:00Z"), before);
        assert_eq!(
            seen.next_place("2026-01-01T00:10:00.5", at("2026-01-01T00:11:00Z")),
            before,
            "without zone"
        );
        let place = (mark.to_owned(), Some(7.into()));
        seen.reached(&place);
        assert_eq!(begins(&seen, "2026-01-01T00:11:00Z"), place, "the last sweep was cut short");
        seen.reached_the_end();
        assert_eq!(begins(&seen, "2026-01-01T00:11:00Z"), before);
        assert_eq!(begins(&seen, "2026-01-01T00:30:00Z"), place);
        assert_eq!(seen.next_place("last week", at("2026-01-01T00:30:00Z")).0, "last week");
    }

    #[test]
    fn updates_are_remembered_within_a_bound_and_future_ones_move_nothing() {
        let mut seen = SeenUpdates::default();
        seen.add(7, "a".to_owned());
        assert!(seen.contains(7, "a") && !seen.contains(7, "b") && !seen.contains(8, "a"));
        (0..2 * MAX_SEEN as i64).for_each(|id| seen.add(id, "a".to_owned()));
        assert!(seen.rows.len() <= MAX_SEEN);
        let now = at("2026-01-01T00:00:00Z");
        assert!(
            is_in_the_future("2099-01-01 00:00:00", now) && !is_in_the_future("2025-01-01T00:00:00Z", now)
        );
    }
}
