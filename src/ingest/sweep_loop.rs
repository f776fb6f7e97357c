//! The ingest's third loop: sweep after sweep, an audit from time to time, and the status and
//! events of both.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::audit::{Auditor, Invisible};
use super::backoff;
use super::inbox::{Inbox, Position};
use super::look_up::Purpose;
use super::merge::Ingest;
use super::metrics::RowOrigin;
use super::status::{Backfill, IngestEvent, ReportedError};
use super::sweep::{SweepError, Swept};
use crate::failure::{Failure, chain};
use crate::row_identity::RowId;

/// Time between two progress reports of a long sweep.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

impl<I: Inbox> Ingest<I> {
    /// Sweeps until `stop` is cancelled: at start, on request, and every minute regardless.
    pub(super) async fn sweep(&self, stop: &CancellationToken) {
        let mut position = None;
        let mut auditor = Auditor::default();
        let mut audit_due = Instant::now();
        let mut failures = 0;
        let mut due = Instant::now();
        let mut rested = due;
        loop {
            let woken = async {
                sleep_until(rested).await;
                self.sweep_trigger.asked().await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(due) => {}
                // While the table or the inbox fails, only the backoff decides.
                () = woken, if failures == 0 => {}
            }
            let sweep_is_due = Instant::now() >= due || self.sweep_trigger.wants_sweep();
            let work = async {
                if !sweep_is_due {
                    return self.revise_changed().await;
                }
                // Both are read before the sweep begins: a request during the sweep is served by the
                // next one.
                let made = self.sweep_trigger.made();
                let named = self.sweep_trigger.rows();
                self.sweep_once(&mut position).await?;
                let cursor = position.as_ref().map_or(0, |position: &Position| position.cursor);
                self.look_at(&named, cursor).await?;
                self.revise_changed().await?;
                self.sweep_trigger.served(made);
                if Instant::now() >= audit_due {
                    match self.audit(&mut auditor, position.get_or_insert_default()).await {
                        // Counting may fail on a large table. A failed audit must not delay the
                        // next sweep.
                        Err(SweepError::Rest(error)) => {
                            warn!(error = chain(&error), "the audit failed and is postponed");
                        }
                        audited => audited?,
                    }
                    audit_due = Instant::now() + self.timing.audit_every;
                }
                Ok(())
            };
            let swept = tokio::select! {
                () = stop.cancelled() => return,
                swept = Box::pin(work) => swept,
            };
            rested = Instant::now() + self.timing.min_sweep_interval;
            match swept {
                Ok(()) => {
                    failures = 0;
                    if sweep_is_due {
                        due = Instant::now() + self.timing.sweep_every;
                    }
                }
                Err(error) => {
                    self.fail(&error);
                    failures += 1;
                    let pause =
                        backoff::delay(error.directive(), failures - 1, error.retry_after(), rand::random());
                    due = Instant::now() + pause;
                }
            }
        }
    }

    async fn sweep_once(&self, known: &mut Option<Position>) -> Result<(), SweepError> {
        let begun = Instant::now();
        let swept = Box::pin(self.sweep_to_end(known, begun)).await;
        self.metrics.sweep_ended(swept.is_ok(), begun.elapsed());
        swept
    }

    async fn sweep_to_end(&self, known: &mut Option<Position>, begun: Instant) -> Result<(), SweepError> {
        let reported = AtomicU64::new(0);
        let total = OnceLock::new();
        let long = Notify::new();
        let progress = |read: u64, cursor: i64| {
            let slot = (begun.elapsed().as_millis() / PROGRESS_EVERY.as_millis()) as u64;
            if reported.swap(slot, Ordering::Relaxed) != slot {
                long.notify_one();
                self.progress(Backfill { read, total: total.get().copied(), cursor }, begun.elapsed());
            }
        };
        let sweeper = self.sweeper(&progress);
        let mut position = match known.take() {
            Some(position) => position,
            None => sweeper.in_time(self.inbox.position()).await?,
        };
        self.status.send_modify(|status| _ = status.series.get_or_insert(position.series));
        let mut swept = Swept::default();
        let from = position.cursor;
        // The number of rows ahead matters only once a sweep is long. The sweep never waits for it,
        // as the table may fail to count.
        let counting = async {
            long.notified().await;
            // Where ids are texts, only the first sweep is long.
            let done = async { if from == 0 { Ok(0) } else { self.table.count_up_to(from).await } };
            if let (Ok(all), Ok(done)) = tokio::join!(self.table.count(), done) {
                let _ = total.set(all.saturating_sub(done));
            }
            std::future::pending().await
        };
        let result = tokio::select! {
            result = sweeper.run(&mut position, &mut swept) => result,
            never = counting => never,
        };
        let cursor = position.cursor;
        *known = Some(position);
        self.status.send_modify(|status| status.backfill = None);
        self.count(&swept);
        result?;
        sweeper.in_time(self.inbox.swept(begun.elapsed())).await?;
        self.status.send_modify(|status| {
            status.sweeps += 1;
            status.last_sweep_at = Some(Timestamp::now());
            status.sweep_trouble = None;
        });
        debug!(stored = swept.accepted.stored, cursor, "swept");
        self.emit(IngestEvent::Swept { stored: swept.accepted.stored, cursor });
        Ok(())
    }

    /// Sweeps once, and returns the number of pairs that were new to the inbox.
    ///
    /// # Errors
    /// [`SweepError`]. The rows that were handed over before the error stay stored.
    pub async fn sweep_now(&self) -> Result<u64, SweepError> {
        let before = self.status.borrow().rows_by_sweep;
        let mut position = None;
        Box::pin(self.sweep_once(&mut position)).await?;
        if self.table.has_text_ids() {
            // A sweep alone does not read a row that bears an earlier time.
            let mut swept = Swept::default();
            let mut position = position.unwrap_or_default();
            Box::pin(Auditor::default().audit(&self.sweeper(&|_, _| {}), &mut position, &mut swept)).await?;
            self.count(&swept);
        }
        Ok(self.status.borrow().rows_by_sweep - before)
    }

    /// Looks at the rows that were named as updated or deleted.
    async fn revise_changed(&self) -> Result<(), SweepError> {
        let changed = self.sweep_trigger.changed_rows();
        let ids: Vec<RowId> = changed.iter().map(|change| change.id.clone()).collect();
        let deleted: BTreeSet<RowId> =
            changed.iter().filter(|change| change.is_deleted).map(|change| change.id.clone()).collect();
        self.follow_hints(&ids, Purpose::Revise(&deleted)).await?;
        self.sweep_trigger.forget_changed(&changed);
        Ok(())
    }

    /// Reads those of the named rows that are below the range over which the sweep just looked back.
    async fn look_at(&self, named: &[RowId], cursor: i64) -> Result<(), SweepError> {
        let end = cursor.saturating_sub(self.timing.overlap);
        let is_old = |id: &&RowId| id.text().is_some() || id.number() <= end;
        let old: Vec<_> = named.iter().filter(is_old).cloned().collect();
        self.follow_hints(&old, Purpose::FindMissing).await?;
        self.sweep_trigger.forget(named);
        Ok(())
    }

    /// Follows hints. Those that the table does not take are left to comparison and audit.
    async fn follow_hints(&self, ids: &[RowId], purpose: Purpose<'_>) -> Result<(), SweepError> {
        let mut swept = Swept::default();
        let followed = self.sweeper(&|_, _| {}).look_up(ids, purpose, &mut swept).await;
        self.count(&swept);
        followed
    }

    /// Adds a sweep's result to the status.
    fn count(&self, swept: &Swept) {
        self.metrics.count_rows(RowOrigin::Sweep, &swept.accepted, swept.malformed);
        self.status.send_modify(|status| {
            status.rows_by_sweep += swept.accepted.stored;
            if swept.accepted.stored > 0 {
                status.visibility_trouble = None;
            }
            status.duplicates += swept.accepted.duplicates;
            status.refused += swept.accepted.refused;
            status.malformed += swept.malformed;
            status.changed += swept.accepted.changed;
            status.removed += swept.removed;
        });
        self.tell_series(swept.accepted.series);
        if let Some(rows) = swept.vanished {
            self.tell_vanished(rows);
        }
        let (changed, removed) = (swept.accepted.changed, swept.removed);
        if changed + removed > 0 {
            info!(changed, removed, "rows have changed in the table, or were deleted from it");
            self.emit(IngestEvent::Revised { changed, removed });
        }
    }

    /// Tells, once, that kept rows are no longer in the table.
    fn tell_vanished(&self, rows: u64) {
        let before = self.status.borrow().vanished;
        self.status.send_modify(|status| status.vanished = rows);
        if rows > before {
            warn!(
                rows,
                "kept rows are no longer in the table, or its policies hide them; they stay in training. If they \
                 must be forgotten, run `autovalidate forget --vanished`"
            );
            self.emit(IngestEvent::Vanished { rows });
        }
    }

    /// Compares the table with the inbox, and reports once when no row is visible.
    async fn audit(&self, auditor: &mut Auditor, position: &mut Position) -> Result<(), SweepError> {
        let mut swept = Swept::default();
        let audited = auditor.audit(&self.sweeper(&|_, _| {}), position, &mut swept).await?;
        self.metrics.count_rows(RowOrigin::Audit, &swept.accepted, swept.malformed);
        let trouble = audited.invisible.as_ref().map(ReportedError::of);
        let fresh = trouble
            .clone()
            .filter(|trouble| self.status.borrow().visibility_trouble.as_ref() != Some(trouble));
        self.status.send_modify(|status| {
            status.audits += 1;
            status.rows_by_audit += swept.accepted.stored;
            status.duplicates += swept.accepted.duplicates;
            status.refused += swept.accepted.refused;
            status.visibility_trouble = trouble;
        });
        if let Some(trouble) = fresh {
            let kept = match &audited.invisible {
                Some(Invisible::Hidden { kept, .. }) => {
                    warn!(kept, advice = %trouble.advice, "no row is visible any more");
                    *kept
                }
                // Most tables are empty at first, so this is information, not a warning.
                Some(Invisible::EmptyOrHidden { .. }) | None => {
                    info!(advice = %trouble.advice, "no row is visible yet");
                    0
                }
            };
            self.emit(IngestEvent::Invisible { kept, trouble });
        }
        self.emit(IngestEvent::Audited { found: audited.found });
        Ok(())
    }

    fn progress(&self, backfill: Backfill, elapsed: Duration) {
        let per_second = backfill.read as f64 / elapsed.as_secs_f64().max(0.001);
        let Backfill { read, total, cursor } = backfill;
        info!(read, total, cursor, per_second = per_second as u64, "back-filling");
        self.status.send_modify(|status| status.backfill = Some(backfill));
        self.emit(IngestEvent::Progress(backfill));
    }
}
