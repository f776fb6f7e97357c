//! The sweep: keyset reads, through PostgREST, of every row that the inbox may lack.
//!
//! The sweep reads from a durable cursor to the end of the table. It also looks back over an
//! overlap below the cursor, because rows become visible in commit order: the id of a slow
//! transaction appears below ids that were already read. Looking back fetches ids only, and then
//! just the rows that are not known to be in the inbox.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::inbox::{Accepted, Inbox, InboxError};
use super::page::Page;
use super::rest::Table;
use super::rest_error::RestError;
use crate::correction::Row;
use crate::failure::{Failure, RetryDirective};

/// Time within which the inbox must answer.
const INBOX_DEADLINE: Duration = Duration::from_secs(60);
/// Largest number of ids remembered; a forgotten id costs one more look at a known row.
const MAX_KNOWN: usize = 100_000;

/// Reason why a sweep or a delivery stopped halfway. Nothing is lost: the cursor stays where it
/// was.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The table can't be read.
    #[error("the table can't be read")]
    Rest(#[from] RestError),
    /// The inbox can't take rows.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The inbox doesn't answer.
    #[error("the inbox did not answer within {INBOX_DEADLINE:?}")]
    InboxSilent,
}

impl SweepError {
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rest(error) => error.retry_after(),
            Self::Inbox(_) | Self::InboxSilent => None,
        }
    }
}

impl Failure for SweepError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Rest(error) => error.directive(),
            Self::Inbox(error) => error.directive(),
            Self::InboxSilent => RetryDirective::Retry,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Rest(error) => error.advice(),
            Self::Inbox(error) => error.advice(),
            Self::InboxSilent => "Check that the queue is reachable; the worker tries again.".to_owned(),
        }
    }
}

/// Ids that need no further look: rows in the inbox, and malformed rows.
#[derive(Debug, Default)]
pub(super) struct KnownIds(Mutex<BTreeSet<i64>>);

impl KnownIds {
    pub(super) fn add(&self, ids: impl IntoIterator<Item = i64>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(ids);
        while known.len() > MAX_KNOWN {
            known.pop_first();
        }
    }

    fn missing(&self, ids: &[i64]) -> Vec<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter().copied().filter(|id| !known.contains(id)).collect()
    }

    /// Removes known rows from a page, such as rows that Realtime delivered before the sweep.
    fn leave_out(&self, page: &mut Page) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        page.rows.retain(|row| !known.contains(&row.id));
        page.malformed.retain(|malformed| malformed.id.is_none_or(|id| !known.contains(&id)));
        page.unreadable.retain(|unreadable| !known.contains(&unreadable.id));
    }

    fn forget_below(&self, id: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = known.split_off(&id);
    }
}

/// Result of a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Swept {
    pub(super) accepted: Accepted,
    pub(super) malformed: u64,
}

/// A sweep from one table into one inbox.
pub(super) struct Sweep<'a, I> {
    pub(super) table: &'a Table,
    pub(super) inbox: &'a I,
    pub(super) known: &'a KnownIds,
    /// Number of rows per request.
    pub(super) page: usize,
    /// Range below the cursor that is searched for late commits, in ids.
    pub(super) overlap: i64,
    /// Called after every page that is read forward, with the number of rows read so far and the
    /// last id.
    pub(super) progress: &'a (dyn Fn(u64, i64) + Sync),
}

impl<I: Inbox> Sweep<'_, I> {
    /// Looks back from `cursor`, then reads on to the end of the table, and moves `cursor` with
    /// every page that is safely in the inbox. Work done before an error stays done, and is counted
    /// in `swept`.
    pub(super) async fn run(&self, cursor: &mut i64, swept: &mut Swept) -> Result<(), SweepError> {
        self.look_back(*cursor, swept).await?;
        self.read_on(cursor, swept).await?;
        self.known.forget_below(cursor.saturating_sub(self.overlap));
        Ok(())
    }

    async fn look_back(&self, cursor: i64, swept: &mut Swept) -> Result<(), SweepError> {
        let mut after = cursor.saturating_sub(self.overlap);
        while after < cursor {
            let ids = self.table.ids_between(after, cursor, self.page).await?;
            // Only an empty page is the end: a short one may come from the server's row limit.
            let Some(last) = ids.last() else { break };
            after = *last;
            let unknown = self.known.missing(&ids);
            if unknown.is_empty() {
                continue;
            }
            // After a start no id is known yet, but the inbox has nearly all of these rows.
            let missing = self.in_time(self.inbox.missing(&unknown)).await?;
            let lacking: BTreeSet<i64> = missing.iter().copied().collect();
            self.known.add(unknown.into_iter().filter(|id| !lacking.contains(id)));
            if !missing.is_empty() {
                self.hand_over(self.table.rows_by_id(&missing).await?, swept).await?;
            }
        }
        Ok(())
    }

    async fn read_on(&self, cursor: &mut i64, swept: &mut Swept) -> Result<(), SweepError> {
        let mut read = 0;
        let mut page = self.table.page_after(*cursor, self.page).await?;
        while let Some(last) = page.last_id {
            read += (page.rows.len() + page.malformed.len() + page.unreadable.len()) as u64;
            // The next page is read while this one is written. Neither is cut short: this page is
            // kept even when reading the next one fails.
            let (kept, next) =
                tokio::join!(self.keep(page, last, swept), self.table.page_after(last, self.page));
            kept?;
            *cursor = last;
            (self.progress)(read, last);
            page = next?;
        }
        Ok(())
    }

    async fn keep(&self, page: Page, last: i64, swept: &mut Swept) -> Result<(), SweepError> {
        self.hand_over(page, swept).await?;
        self.in_time(self.inbox.advance(last)).await
    }

    pub(super) async fn hand_over(&self, mut page: Page, swept: &mut Swept) -> Result<(), SweepError> {
        self.known.leave_out(&mut page);
        let accepted = self.accept(&page.rows).await?;
        swept.accepted.stored += accepted.stored;
        swept.accepted.duplicates += accepted.duplicates;
        swept.accepted.refused += accepted.refused;
        for malformed in &page.malformed {
            swept.malformed += 1;
            warn!(id = malformed.id, "skipped a row: a column is missing or has another type");
        }
        for unreadable in &page.unreadable {
            swept.malformed += 1;
            warn!(id = unreadable.id, "skipped: {unreadable}");
        }
        self.known.add(page.malformed.iter().filter_map(|malformed| malformed.id));
        self.known.add(page.unreadable.iter().map(|unreadable| unreadable.id));
        Ok(())
    }

    /// Hands rows to the inbox, and remembers their ids once it has accepted them.
    pub(super) async fn accept(&self, rows: &[Row]) -> Result<Accepted, SweepError> {
        if rows.is_empty() {
            return Ok(Accepted::default());
        }
        let accepted = self.in_time(self.inbox.accept(rows)).await?;
        self.known.add(rows.iter().map(|row| row.id));
        Ok(accepted)
    }

    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, InboxError>>,
    ) -> Result<T, SweepError> {
        Ok(timeout(INBOX_DEADLINE, answer).await.map_err(|_| SweepError::InboxSilent)??)
    }
}
