//! In-memory inbox, and shared helpers of the ingest tests.

// Clippy exempts only functions with a test attribute, but these helpers fail tests in the same
// way.
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autovalidate::correction::Row;
use autovalidate::failure::{Failure, RetryDirective};
use autovalidate::ingest::{
    Accepted, Inbox, InboxError, Ingest, IngestEvent, IngestStatus, IngestTiming, Position,
    RealtimeDeadlines, SweepTrigger, TableAccess,
};
use autovalidate::row_identity::{KeptRow, KeptText, RowId};
use autovalidate_fakes::supabase::{Options, Supabase};
use jiff::Timestamp;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::within;

const NEVER: Duration = Duration::from_secs(3600);

/// Inbox with rows by id, a cursor, and switches that make it fail or wait.
#[derive(Debug, Default)]
pub struct Memory {
    rows: watch::Sender<BTreeMap<i64, Row>>,
    /// Version of each row's text, and the number of times that the ids have started anew.
    versions: Mutex<(BTreeMap<i64, u16>, u32)>,
    /// Series of each row.
    series: Mutex<BTreeMap<i64, u32>>,
    position: watch::Sender<Position>,
    failing: AtomicBool,
    held: watch::Sender<bool>,
    refused_calls: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
#[error("the disk is full")]
struct Full;

impl Failure for Full {
    fn directive(&self) -> RetryDirective {
        RetryDirective::Retry
    }

    fn advice(&self) -> String {
        "Make room.".to_owned()
    }
}

/// Returns the time of a row's insert: a row is stored at once.
fn stored_at(row: &Row) -> Timestamp {
    row.created_at.as_deref().and_then(|at| at.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Inbox for Memory {
    async fn accept(&self, rows: &[Row]) -> Result<Accepted, InboxError> {
        self.store(rows, false).await
    }

    async fn accept_late(&self, rows: &[Row]) -> Result<Accepted, InboxError> {
        self.store(rows, true).await
    }

    async fn replace(&self, rows: &[(KeptRow, Row)]) -> Result<Accepted, InboxError> {
        let mut accepted = Accepted::default();
        let (versions, series) = &mut *self.versions.lock().expect("no panic while locked");
        self.rows.send_modify(|stored| {
            for (kept, row) in rows {
                if stored.get(&row.id) == Some(row) {
                    accepted.duplicates += 1;
                } else if versions.get(&row.id) == Some(&kept.version) {
                    accepted.stored += 1;
                    accepted.changed += 1;
                    versions.insert(row.id, kept.version + 1);
                    stored.insert(row.id, row.clone());
                } else {
                    accepted.differing.push(row.id);
                }
            }
        });
        accepted.series = Some(*series);
        Ok(accepted)
    }

    async fn refuse(&self, row: &RowId) -> Result<Accepted, InboxError> {
        let id = row.number();
        let row = Row::default().with_id(row);
        let mut refused = 0;
        self.rows.send_modify(|stored| {
            stored.entry(id).or_insert_with(|| {
                refused = 1;
                row
            });
        });
        Ok(Accepted { refused, duplicates: 1 - refused, ..Accepted::default() })
    }

    async fn remove(&self, rows: &[KeptRow]) -> Result<u64, InboxError> {
        let mut removed = 0;
        self.rows.send_modify(|stored| {
            removed = rows.iter().filter(|kept| stored.remove(&kept.id).is_some()).count() as u64;
        });
        Ok(removed)
    }

    async fn kept(&self, ids: &[i64]) -> Result<Vec<KeptRow>, InboxError> {
        Ok(self.kept_rows(|id| ids.contains(&id)))
    }

    async fn kept_between(&self, after: i64, last: i64) -> Result<Vec<KeptRow>, InboxError> {
        Ok(self.kept_rows(|id| id > after && id <= last))
    }

    async fn text_ids_after(&self, after: i64, count: usize) -> Result<Vec<KeptText>, InboxError> {
        let rows = self.rows.borrow();
        let texts = rows.range(after..).filter(|(id, row)| **id > after && row.text_id.is_some());
        let kept = texts.map(|(_, row)| KeptText { id: row.row_id(), stored: stored_at(row) });
        Ok(kept.take(count).collect())
    }

    async fn count_up_to(&self, last: i64) -> Result<u64, InboxError> {
        Ok(self.rows.borrow().range(..=last).count() as u64)
    }

    async fn missing(&self, ids: &[i64]) -> Result<Vec<i64>, InboxError> {
        let rows = self.rows.borrow();
        Ok(ids.iter().copied().filter(|id| !rows.contains_key(id)).collect())
    }

    async fn position(&self) -> Result<Position, InboxError> {
        Ok(self.position.borrow().clone())
    }

    async fn advance(&self, position: &Position) -> Result<(), InboxError> {
        self.position.send_replace(position.clone());
        Ok(())
    }
}

impl Memory {
    /// Stores rows. With `with_late`, also those below the highest id.
    async fn store(&self, rows: &[Row], with_late: bool) -> Result<Accepted, InboxError> {
        if self.failing.load(Ordering::SeqCst) {
            self.refused_calls.fetch_add(1, Ordering::SeqCst);
            return Err(InboxError::new(Full));
        }
        self.held.subscribe().wait_for(|held| !held).await.expect("the inbox lives");
        let mut accepted = Accepted::default();
        let (versions, series) = &mut *self.versions.lock().expect("no panic while locked");
        self.rows.send_modify(|stored| {
            let highest = stored.last_key_value().map(|(id, _)| *id);
            for row in rows {
                let is_late = row.text_id.is_none() && highest.is_some_and(|highest| row.id < highest);
                match stored.get(&row.id) {
                    None if is_late && !with_late => accepted.late.push(row.id),
                    Some(known) if known == row => accepted.duplicates += 1,
                    Some(known) if known.created_at == row.created_at => accepted.differing.push(row.id),
                    known => {
                        *series += u32::from(known.is_some());
                        accepted.stored += 1;
                        versions.insert(row.id, 1);
                        self.series.lock().expect("no panic while locked").insert(row.id, *series);
                        stored.insert(row.id, row.clone());
                    }
                }
            }
        });
        accepted.series = Some(*series);
        Ok(accepted)
    }

    pub fn fail(&self, on: bool) {
        self.failing.store(on, Ordering::SeqCst);
    }

    /// Blocks new rows until they are accepted (`true`), or releases them (`false`).
    pub fn hold(&self, on: bool) {
        self.held.send_replace(on);
    }

    pub fn refused_calls(&self) -> u64 {
        self.refused_calls.load(Ordering::SeqCst)
    }

    pub fn cursor_now(&self) -> i64 {
        self.position.borrow().cursor
    }

    fn kept_rows(&self, wanted: impl Fn(i64) -> bool) -> Vec<KeptRow> {
        // Always locked before the rows.
        let versions = self.versions.lock().expect("no panic while locked");
        let rows = self.rows.borrow();
        let ids = rows.keys().copied().filter(|id| wanted(*id));
        ids.map(|id| KeptRow { id, number: id, version: versions.0.get(&id).copied().unwrap_or_default() })
            .collect()
    }

    /// Returns the number of times that the ids had started anew when this row was stored.
    pub fn series_of(&self, id: i64) -> Option<u32> {
        self.series.lock().expect("no panic while locked").get(&id).copied()
    }

    /// Lets the table's ids have started anew this many times.
    pub fn begin_series(&self, series: u32) {
        self.versions.lock().expect("no panic while locked").1 = series;
    }

    /// Waits until a row has this typo.
    #[track_caller]
    pub fn has_typo(&self, id: i64, typo: &str) -> impl Future<Output = ()> {
        let (mut rows, typo) = (self.rows.subscribe(), typo.to_owned());
        within(DEADLINE, async move {
            let shows = |rows: &BTreeMap<i64, Row>| rows.get(&id).is_some_and(|row| row.typo == typo);
            rows.wait_for(shows).await.expect("the inbox lives");
        })
    }

    /// Waits until exactly these ids are stored.
    #[track_caller]
    pub fn holds(&self, ids: impl IntoIterator<Item = i64>) -> impl Future<Output = ()> {
        let ids: Vec<_> = ids.into_iter().collect();
        let mut rows = self.rows.subscribe();
        within(DEADLINE, async move {
            let all = |rows: &BTreeMap<i64, Row>| rows.keys().copied().eq(ids.iter().copied());
            rows.wait_for(all).await.expect("the inbox lives");
        })
    }
}

/// Returns a timing without any periodic work: only the test triggers sweeps and audits.
pub fn timing() -> IngestTiming {
    IngestTiming {
        sweep_every: NEVER,
        audit_every: NEVER,
        min_sweep_interval: Duration::ZERO,
        limits: RealtimeDeadlines { settle: NEVER, ..RealtimeDeadlines::default() },
        ..IngestTiming::default()
    }
}

/// Starts a stand-in with very short delays.
pub async fn supabase() -> Supabase {
    Supabase::start(quick_options()).await.expect("the stand-in starts")
}

/// Returns the options of a stand-in with very short delays.
pub fn quick_options() -> Options {
    Options {
        poll: Duration::from_millis(10),
        subscribed_delay: Duration::from_millis(20),
        upgrade_error_delay: Duration::from_millis(20),
        join_error_delay: Duration::from_millis(20),
        ..Options::default()
    }
}

pub fn access(supabase: &Supabase) -> TableAccess {
    TableAccess::new(supabase.url().clone(), supabase.anon_key().to_owned().into())
}

/// Running ingest; its task is aborted on drop.
pub struct Running {
    pub events: broadcast::Receiver<IngestEvent>,
    pub status: watch::Receiver<IngestStatus>,
    pub sweep_trigger: SweepTrigger,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub fn start(access: TableAccess, inbox: &Arc<Memory>, timing: IngestTiming) -> Self {
        let ingest = Ingest::new(access, Arc::clone(inbox), timing).expect("good access");
        let (events, status, sweep_trigger) = (ingest.events(), ingest.status(), ingest.sweep_trigger());
        let stop = CancellationToken::new();
        let task = tokio::spawn(ingest.run(stop.clone()));
        Self { events, status, sweep_trigger, stop, task }
    }

    /// Waits for the first event that `pick` accepts.
    #[track_caller]
    pub fn event<T>(&mut self, pick: impl Fn(IngestEvent) -> Option<T>) -> impl Future<Output = T> {
        within(DEADLINE, async move {
            loop {
                if let Some(picked) = pick(self.events.recv().await.expect("the ingest runs")) {
                    return picked;
                }
            }
        })
    }

    /// Waits until row changes arrive and the sweep after the subscription is complete.
    pub async fn settled(&mut self) {
        self.event(|event| matches!(event, IngestEvent::Subscribed { .. }).then_some(())).await;
        self.event(|event| matches!(event, IngestEvent::Swept { .. }).then_some(())).await;
    }

    /// Waits until the status satisfies `holds`.
    #[track_caller]
    pub fn status_is(
        &mut self,
        holds: impl FnMut(&IngestStatus) -> bool,
    ) -> impl Future<Output = IngestStatus> {
        within(DEADLINE, async move { self.status.wait_for(holds).await.expect("the ingest runs").clone() })
    }

    pub async fn stop(mut self) {
        self.stop.cancel();
        within(DEADLINE, &mut self.task).await.expect("the ingest ends in order");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
