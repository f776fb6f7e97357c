//! The sweep: keyset reads, through PostgREST, of every row that the inbox may lack.
//!
//! The sweep reads from a durable cursor to the end of the table. It also looks back over an
//! overlap below the cursor, because rows become visible in commit order: the id of a slow
//! transaction appears below ids that were already read. Looking back fetches ids only, and then
//! just the rows that are not in the inbox.
//!
//! A row that shows below others that are kept is stored only after the table's first rows were read
//! once more: the ids may have started anew since the sweep began. See `series`.
//!
//! A row that the inbox keeps with another text is read again before its text is replaced: a page may
//! show an older state of the row than the inbox has. See [`revise`](Sweep::revise).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, warn};

use super::id_kind::IdKind;
use super::inbox::{Accepted, Inbox, InboxError, Position};
use super::insert_order::InsertProgress;
use super::metrics::IngestMetrics;
use super::page::{Page, UnreadableReason};
use super::rest::Table;
use super::rest_error::RestError;
use super::series::late;
use super::updates::SeenUpdates;
use crate::correction::Row;
use crate::failure::{Failure, RetryDirective, chain};
use crate::row_identity::{KeptRow, RowId};

/// Time within which the inbox must answer.
const INBOX_DEADLINE: Duration = Duration::from_secs(60);
/// Largest number of ids remembered; a forgotten id is told again.
const MAX_REPORTED: usize = 100_000;
/// Number of rows that are erased in one call to the inbox.
const REMOVED_AT_ONCE: usize = 500;
/// Number of times that a row is read again because it changed between two looks.
const MAX_REVISIONS: usize = 5;

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
    /// Returns true when the ids that were asked for may be the reason: they are no values of the column, or
    /// the column takes two texts for one.
    pub(super) fn is_about(&self, ids: &[RowId]) -> bool {
        matches!(self, Self::Rest(error) if error.is_about(ids))
    }

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

/// Ids of rows that can't become pairs. Each was told once.
#[derive(Debug, Default)]
pub(super) struct ReportedIds(Mutex<BTreeSet<i64>>);

impl ReportedIds {
    /// Adds an id, and returns true when it was new.
    fn add(&self, id: i64) -> bool {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = reported.insert(id);
        while reported.len() > MAX_REPORTED {
            reported.pop_first();
        }
        new
    }

    pub(super) fn leave_out(&self, ids: &mut Vec<RowId>) {
        let reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.retain(|id| !reported.contains(&id.number()));
    }
}

/// Result of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Swept {
    pub(super) accepted: Accepted,
    /// Number of rows skipped for the first time because they can't become pairs.
    pub(super) malformed: u64,
    /// Number of rows erased because they are no longer in the table.
    pub(super) removed: u64,
    /// Number of kept rows that the table shows no more and that were not erased, over the round of the
    /// comparison that ended with this sweep; `None` when none ended.
    pub(super) vanished: Option<u64>,
}

impl Swept {
    pub(super) fn add(&mut self, accepted: &Accepted) {
        let sum = &mut self.accepted;
        sum.stored += accepted.stored;
        sum.duplicates += accepted.duplicates;
        sum.refused += accepted.refused;
        sum.changed += accepted.changed;
        sum.series = sum.series.max(accepted.series);
    }
}

/// Returns the ids of those of these rows that the inbox keeps with another text.
pub(super) fn differing(accepted: &Accepted, rows: &[Row]) -> Vec<RowId> {
    let differs = rows.iter().filter(|row| accepted.differing.contains(&row.id));
    differs.map(Row::row_id).collect()
}

fn numbers(ids: &[RowId]) -> Vec<i64> {
    ids.iter().map(RowId::number).collect()
}

/// A sweep from one table into one inbox.
pub(super) struct Sweep<'a, I> {
    pub(super) table: &'a Table,
    pub(super) inbox: &'a I,
    pub(super) reported: &'a ReportedIds,
    /// Held while rows are read again and replaced. Of two reads of a row, the later one is then also
    /// the one that is stored later.
    pub(super) revising: &'a tokio::sync::Mutex<()>,
    /// Updates that were seen before.
    pub(super) updates: &'a tokio::sync::Mutex<SeenUpdates>,
    /// Number of vanished rows in the current round of the comparison.
    pub(super) vanishing: &'a AtomicU64,
    /// Progress in the order of inserts, where ids are texts.
    pub(super) inserts: &'a InsertProgress,
    /// Numbers of the ingest, which are told how late a row is.
    pub(super) metrics: &'a IngestMetrics,
    /// Number of rows per request.
    pub(super) page: usize,
    /// Number of kept rows that each sweep compares with the table.
    pub(super) compare: usize,
    /// Range below the cursor that is searched for late commits, in ids.
    pub(super) overlap: i64,
    /// Called after every page that is read forward, with the number of rows read so far and the
    /// last id.
    pub(super) progress: &'a (dyn Fn(u64, i64) + Sync),
}

impl<I: Inbox> Sweep<'_, I> {
    /// Looks back from the cursor, reads on to the end of the table, and compares a page of kept rows
    /// with the table. Moves the position with every page that is safely in the inbox. Work done
    /// before an error stays done, and is counted in `swept`.
    pub(super) async fn run(&self, position: &mut Position, swept: &mut Swept) -> Result<(), SweepError> {
        // An empty table that no row was read from has no kind yet.
        let Some(kind) = self.table.id_kind(position).await? else { return Ok(()) };
        match kind {
            IdKind::Number => self.read_by_id(position, swept).await?,
            IdKind::Text => Box::pin(self.read_by_insert(position, swept)).await?,
        }
        let before = position.clone();
        // Whatever keeps updates from being read, the comparison finds them, too.
        match Box::pin(self.read_updates(position, swept)).await {
            Err(SweepError::Rest(error)) => debug!(error = chain(&error), "the updates can't be read"),
            read => read?,
        }
        match kind {
            IdKind::Number => Box::pin(self.compare_page(position, swept)).await?,
            IdKind::Text => Box::pin(self.compare_text_ids(position, swept)).await?,
        }
        if *position != before {
            self.in_time(self.inbox.advance(position)).await?;
        }
        while kind == IdKind::Number && self.follow_series(position, swept) {
            self.read_on(position, swept).await?;
        }
        Ok(())
    }

    /// Looks back, and reads on to the end of the table, in the order of ids.
    async fn read_by_id(&self, position: &mut Position, swept: &mut Swept) -> Result<(), SweepError> {
        // Before any other row is read: a row that comes after the ids have started anew must not be taken
        // for a late one of the series before.
        if position.cursor > 0 {
            Box::pin(self.compare_first_rows(swept)).await?;
        }
        self.follow_series(position, swept);
        self.look_back(position.cursor, swept).await?;
        self.read_on(position, swept).await
    }

    async fn look_back(&self, cursor: i64, swept: &mut Swept) -> Result<(), SweepError> {
        let mut after = cursor.saturating_sub(self.overlap);
        while after < cursor {
            let ids = self.table.ids_between(after, cursor, self.page).await?;
            // Only an empty page is the end: a short one may come from the server's row limit.
            let Some(last) = ids.last() else { break };
            after = *last;
            let mut ids = ids.into_iter().map(RowId::of_number).collect();
            self.reported.leave_out(&mut ids);
            self.read_missing(ids, swept).await?;
        }
        Ok(())
    }

    /// Reads and hands over those of these rows that were never kept.
    pub(super) async fn read_missing(
        &self,
        mut ids: Vec<RowId>,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        let missing: BTreeSet<i64> =
            self.in_time(self.inbox.missing(&numbers(&ids))).await?.into_iter().collect();
        ids.retain(|id| missing.contains(&id.number()));
        match ids.is_empty() {
            true => Ok(()),
            false => self.hand_over(self.table.rows_by_id(&ids).await?, swept).await,
        }
    }

    async fn read_on(&self, position: &mut Position, swept: &mut Swept) -> Result<(), SweepError> {
        let mut read = 0;
        let mut page = self.table.page_after(position.cursor, self.page).await?;
        while let Some(last) = page.last_id {
            read += (page.rows.len() + page.malformed.len() + page.unreadable.len()) as u64;
            let reached = Position { cursor: last, ..position.clone() };
            // The next page is read while this one is written. Neither is cut short: this page is
            // kept even when reading the next one fails.
            let (kept, next) =
                tokio::join!(self.keep(page, &reached, swept), self.table.page_after(last, self.page));
            kept?;
            *position = reached;
            (self.progress)(read, last);
            page = next?;
        }
        Ok(())
    }

    async fn keep(&self, page: Page, reached: &Position, swept: &mut Swept) -> Result<(), SweepError> {
        self.hand_over(page, swept).await?;
        self.in_time(self.inbox.advance(reached)).await
    }

    /// Hands a page to the inbox. Rows that the inbox keeps with another text are read again.
    pub(super) async fn hand_over(&self, page: Page, swept: &mut Swept) -> Result<(), SweepError> {
        self.report(&page, swept).await?;
        if !page.rows.is_empty() {
            let accepted = self.in_time(self.inbox.accept(&page.rows)).await?;
            swept.add(&accepted);
            self.metrics.note_lag(&accepted, &page.rows);
            let mut changed = differing(&accepted, &page.rows);
            changed.extend(self.settle_late(late(&accepted, &page.rows), swept).await?);
            Box::pin(self.revise(&changed, &BTreeSet::new(), swept)).await?;
        }
        Ok(())
    }

    /// Brings the inbox up to date with rows that have changed, or may have been deleted: reads them
    /// from the table, stores their text, and erases those that the table has no more.
    ///
    /// A row that does not show may only be hidden by a policy. Without a key that bypasses the
    /// policies, only the rows in `deleted`, which an event or a webhook has named as deleted, are
    /// erased.
    pub(super) async fn revise(
        &self,
        ids: &[RowId],
        deleted: &BTreeSet<RowId>,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        let mut ids = ids.to_vec();
        for _ in 0..MAX_REVISIONS {
            if ids.is_empty() {
                return Ok(());
            }
            let revising = self.revising.lock().await;
            // Before the rows are read: a version that somebody else stores meanwhile is noticed.
            let kept = self.in_time(self.inbox.kept(&numbers(&ids))).await?;
            let kept: BTreeMap<i64, KeptRow> = kept.into_iter().map(|kept| (kept.id, kept)).collect();
            let page = self.table.rows_by_id(&ids).await?;
            self.report(&page, swept).await?;
            let shown = page.ids();
            let rows = self.leave_out_repeated_ids(page.rows);
            let (known, new): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| kept.contains_key(&row.id));
            let known: Vec<_> =
                known.into_iter().filter_map(|row| Some((*kept.get(&row.id)?, row))).collect();
            let gone = kept.into_values().filter(|kept| !shown.contains(&kept.id));
            let is_deleted = |kept: &KeptRow| {
                self.table.access().bypasses_policies() || deleted.contains(&RowId::of_number(kept.id))
            };
            let (gone, hidden): (Vec<_>, Vec<_>) = gone.partition(is_deleted);
            self.vanishing.fetch_add(hidden.len() as u64, Ordering::Relaxed);
            let accepted = self.in_time(self.inbox.accept(&new)).await?;
            let replaced = self.in_time(self.inbox.replace(&known)).await?;
            for gone in gone.chunks(REMOVED_AT_ONCE) {
                let removed = self.in_time(self.inbox.remove(gone)).await?;
                swept.removed += removed;
                self.vanishing.fetch_add((gone.len() as u64).saturating_sub(removed), Ordering::Relaxed);
            }
            swept.add(&accepted);
            swept.add(&replaced);
            drop(revising);
            let changed = self.settle_late(late(&accepted, &new), swept).await?;
            ids.retain(|id| {
                let number = id.number();
                accepted.differing.contains(&number)
                    || replaced.differing.contains(&number)
                    || changed.contains(id)
            });
        }
        // Somebody changes these rows all the time. The comparison of kept rows looks at them again.
        warn!(rows = ids.len(), "rows changed each time they were read; they are read again later");
        Ok(())
    }

    /// Removes rows that share an id, as a view's rows may. Each would replace the other without end.
    fn leave_out_repeated_ids(&self, mut rows: Vec<Row>) -> Vec<Row> {
        let mut times: BTreeMap<i64, usize> = BTreeMap::new();
        for row in &rows {
            *times.entry(row.id).or_default() += 1;
        }
        rows.retain(|row| times.get(&row.id) == Some(&1));
        for (id, rows) in times.into_iter().filter(|(_, times)| *times > 1) {
            if self.reported.add(id) {
                warn!(id, rows, "several rows have this id; the first one that was read stays");
            }
        }
        rows
    }

    /// Tells of rows that can't become pairs, each once. A row that is too large to be read is also kept
    /// in quarantine, by its id alone.
    async fn report(&self, page: &Page, swept: &mut Swept) -> Result<(), SweepError> {
        for malformed in &page.malformed {
            let id = malformed.id.as_ref();
            if id.is_none_or(|id| self.reported.add(id.number())) {
                swept.malformed += 1;
                warn!(
                    id = id.map(tracing::field::display),
                    "skipped a row: a column is missing or has another type"
                );
            }
        }
        for unreadable in &page.unreadable {
            if unreadable.reason == UnreadableReason::TooLarge {
                let refused = self.in_time(self.inbox.refuse(&unreadable.id)).await?;
                swept.add(&refused);
            }
            if self.reported.add(unreadable.id.number()) {
                swept.malformed += u64::from(unreadable.reason != UnreadableReason::TooLarge);
                warn!("{unreadable}");
            }
        }
        Ok(())
    }

    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, InboxError>>,
    ) -> Result<T, SweepError> {
        Ok(timeout(INBOX_DEADLINE, answer).await.map_err(|_| SweepError::InboxSilent)??)
    }
}
