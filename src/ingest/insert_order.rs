//! Tables whose ids are texts, such as UUIDs: rows are read in the order of their inserts.
//!
//! The order of such ids says nothing about time, so a cursor over them would miss new rows. The sweep
//! reads by the time of the insert and, within one moment, by id. Three things make this complete. A row
//! may be committed some minutes after the time it bears, so each sweep looks back over these minutes. A
//! row may bear any other time, or none: the first [audit](super::audit) of a worker compares every id, and
//! later ones do when the difference of the counts changes. And a row of which the time lies ahead is read
//! once that time has come.
//!
//! An id may be any text that somebody chose. One that is too long for an address, or that can't be an id
//! here, is passed by together with the rows after it that bear the same time; the audit reads those.
//!
//! Changes and deletions are found the other way round than with whole numbers: a page of kept ids is
//! looked up in the table, so the order in which the database sorts texts does not matter.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::inbox::{Inbox, InsertPlace, Position};
use super::insert_pages::{Place, TextPlace};
use super::look_up::Purpose;
use super::sweep::{Sweep, SweepError, Swept};
use super::updates::LATE_COMMIT;
use crate::postgres_time::PostgresTime;
use crate::row_identity::KeptText;

/// First time that PostgreSQL takes in the usual form, with a day to spare.
const FIRST_TIME: Timestamp = Timestamp::constant(-62_135_510_400, 0);

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
    /// Looks back, and reads on to the end of the table, in the order of inserts.
    pub(super) async fn read_by_insert(
        &self,
        position: &mut Position,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        match &position.inserted {
            Some(place) => self.look_back_by_insert(&place.at, swept).await?,
            None => position.compared = i64::MIN,
        }
        self.read_on_by_insert(position, swept).await
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
    ///
    /// A row that was stored before the oldest row of the table was inserted may have gone with the whole
    /// table, so these ids say nothing of the later ones: the two are judged apart.
    pub(super) async fn compare_text_ids(
        &self,
        position: &mut Position,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        let kept = self.in_time(self.inbox.text_ids_after(position.compared, self.compare)).await?;
        let oldest = self.table.oldest_insert().await?;
        let is_before = |kept: &KeptText| oldest.is_some_and(|oldest| kept.stored < oldest);
        for part in [true, false] {
            let ids: Vec<_> =
                kept.iter().filter(|kept| is_before(kept) == part).map(|kept| kept.id.clone()).collect();
            self.look_up(&ids, Purpose::Compare, swept).await?;
        }
        position.compared = match kept.last() {
            Some(last) if kept.len() >= self.compare => last.id.number(),
            _ => {
                self.end_round(swept);
                i64::MIN
            }
        };
        Ok(())
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
