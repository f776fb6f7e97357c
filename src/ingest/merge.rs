//! The ingest: Realtime for speed, sweeps for certainty, merged into one inbox.
//!
//! Three loops run side by side and end together. `connect` runs one Realtime session after
//! another. `deliver` hands the rows of these sessions to the inbox at once. `sweep` (in
//! `sweep_loop`) reads the table at start, whenever rows may have been missed, when a
//! [`SweepTrigger`] asks for it, and every minute regardless. No row depends on Realtime: a failure
//! there costs latency only.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::access::TableAccess;
use super::backoff;
use super::disconnect_reason::DisconnectReason;
use super::inbox::{Accepted, Inbox};
use super::insert_order::InsertProgress;
use super::metrics::{IngestMetrics, RowOrigin};
use super::realtime;
use super::realtime_event::RealtimeEvent;
use super::rest::Table;
use super::rest_error::RestError;
use super::series::late;
use super::status::{IngestEvent, IngestStatus, ReportedError};
use super::sweep::{ReportedIds, Sweep, SweepError, differing};
use super::sweep_trigger::SweepTrigger;
use super::timing::IngestTiming;
use super::updates::SeenUpdates;
use crate::correction::Row;
use crate::failure::Failure;

/// Largest number of rows handed to the inbox at once.
const BATCH: usize = 100;
/// Number of events kept for a slow subscriber.
const EVENTS: usize = 256;

/// Delivers every row of a table to an inbox.
#[derive(Debug)]
pub struct Ingest<I> {
    access: TableAccess,
    pub(super) table: Table,
    pub(super) inbox: Arc<I>,
    pub(super) timing: IngestTiming,
    reported: ReportedIds,
    revising: tokio::sync::Mutex<()>,
    vanishing: AtomicU64,
    updates: tokio::sync::Mutex<SeenUpdates>,
    inserts: InsertProgress,
    pub(super) sweep_trigger: SweepTrigger,
    pub(super) status: watch::Sender<IngestStatus>,
    events: broadcast::Sender<IngestEvent>,
    pub(super) metrics: IngestMetrics,
}

impl<I: Inbox> Ingest<I> {
    /// Creates an ingest that does nothing until [`run`](Self::run).
    ///
    /// # Errors
    /// [`RestError::TableAccess`] for an address or key that can't be used.
    pub fn new(access: TableAccess, inbox: Arc<I>, timing: IngestTiming) -> Result<Self, RestError> {
        Ok(Self {
            table: Table::new(&access)?,
            access,
            inbox,
            timing,
            reported: ReportedIds::default(),
            revising: tokio::sync::Mutex::default(),
            vanishing: AtomicU64::new(0),
            updates: tokio::sync::Mutex::default(),
            inserts: InsertProgress::default(),
            sweep_trigger: SweepTrigger::default(),
            status: watch::Sender::default(),
            events: broadcast::Sender::new(EVENTS),
            metrics: IngestMetrics::default(),
        })
    }

    /// Returns a watch on the current state.
    pub fn status(&self) -> watch::Receiver<IngestStatus> {
        self.status.subscribe()
    }

    /// Returns the numbers for `/metrics`.
    pub fn metrics(&self) -> IngestMetrics {
        self.metrics.clone()
    }

    /// Subscribes to events from now on. A subscriber that falls behind misses some.
    pub fn events(&self) -> broadcast::Receiver<IngestEvent> {
        self.events.subscribe()
    }

    /// Returns a handle that asks for sweeps.
    pub fn sweep_trigger(&self) -> SweepTrigger {
        self.sweep_trigger.clone()
    }

    /// Runs until `stop` is cancelled. Never gives up: the status shows an error that a person must
    /// fix, and the ingest keeps trying.
    pub async fn run(self, stop: CancellationToken) {
        let (sender, receiver) = mpsc::channel(self.timing.buffer.max(1));
        // No loop owns anything that needs an orderly shutdown: only the inbox is durable.
        tokio::join!(
            Box::pin(self.connect(sender, &stop)),
            Box::pin(self.deliver(receiver, &stop)),
            Box::pin(self.sweep(&stop)),
        );
    }

    async fn connect(&self, rows: mpsc::Sender<Row>, stop: &CancellationToken) {
        let mut attempt = 0;
        for generation in 1.. {
            self.status.send_modify(|status| status.generation = generation);
            self.emit(IngestEvent::SessionStarted { generation });
            let begun = Instant::now();
            let report = |event| self.report(generation, event, &rows);
            let reason = realtime::run_session(&self.access, &self.timing.limits, stop, report).await;
            self.status.send_modify(|status| status.connected = false);
            if matches!(reason, DisconnectReason::Stopped) {
                return;
            }
            self.gap();
            let trouble = ReportedError::of(&reason);
            if self.status.borrow().realtime_trouble.as_ref() == Some(&trouble) {
                debug!(generation, error = %trouble.error, "the Realtime session ended again");
            } else {
                let ReportedError { error, remedy, advice } = &trouble;
                warn!(generation, %error, ?remedy, %advice, "the Realtime session ended");
            }
            self.status.send_modify(|status| status.realtime_trouble = Some(trouble.clone()));
            self.emit(IngestEvent::SessionEnded { generation, trouble });
            attempt = if begun.elapsed() >= self.timing.steady { 0 } else { attempt + 1 };
            let step = usize::saturating_sub(attempt, 1);
            let wait = backoff::delay(reason.directive(), step, reason.retry_after(), rand::random());
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// Handles an event of a session. The socket's reader calls this method, so it never waits: a
    /// row that finds the buffer full is left to a sweep.
    fn report(&self, generation: u64, event: RealtimeEvent, rows: &mpsc::Sender<Row>) {
        match event {
            RealtimeEvent::Subscribed => {
                info!(generation, "subscribed to Realtime");
                self.status.send_modify(|status| {
                    status.connected = true;
                    status.realtime_trouble = None;
                });
                self.emit(IngestEvent::Subscribed { generation });
                self.gap();
            }
            RealtimeEvent::Row(row) => {
                self.status.send_modify(|status| status.undelivered += 1);
                if let Err(mpsc::error::TrySendError::Full(row) | mpsc::error::TrySendError::Closed(row)) =
                    rows.try_send(row)
                {
                    self.status.send_modify(|status| status.undelivered -= 1);
                    self.sweep_trigger.row(row.row_id());
                    self.gap();
                }
            }
            RealtimeEvent::Changed(id) => self.sweep_trigger.changed(id),
            RealtimeEvent::Deleted(id) => self.sweep_trigger.deleted(id),
            RealtimeEvent::Partial(id) => {
                self.sweep_trigger.row(id);
                self.gap();
            }
            // The sweep reads the same malformed row, and counts it.
            RealtimeEvent::Malformed(_) | RealtimeEvent::Gap => self.gap(),
        }
    }

    async fn deliver(&self, mut rows: mpsc::Receiver<Row>, stop: &CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        // Number of requests for a sweep, up to the last late row.
        let mut asked = 0;
        loop {
            let mut received = 0;
            let delivered = async {
                received = rows.recv_many(&mut batch, BATCH).await;
                // The table's ids may have started anew while no worker ran, or before a late row came. A
                // sweep tells, and until then the rows that follow are left to it.
                let sweeper = self.sweeper(&|_, _| {});
                let is_told = self.sweep_trigger.has_served(asked)
                    && (self.status.borrow().sweeps > 0
                        || sweeper.in_time(self.inbox.count_up_to(i64::MAX)).await? == 0);
                if !is_told {
                    let left = batch.extract_if(.., |row| row.text_id.is_none());
                    left.for_each(|row| self.sweep_trigger.row(row.row_id()));
                }
                if batch.is_empty() {
                    return Ok(Accepted::default());
                }
                let accepted = sweeper.in_time(self.inbox.accept(&batch)).await?;
                self.metrics.count_rows(RowOrigin::Realtime, &accepted, 0);
                self.metrics.note_lag(&accepted, &batch);
                // An event can be older than what a sweep has read.
                differing(&accepted, &batch).into_iter().for_each(|id| self.sweep_trigger.changed(id));
                for row in late(&accepted, &batch) {
                    self.sweep_trigger.row(row.row_id());
                    asked = self.sweep_trigger.made();
                }
                Ok::<_, SweepError>(accepted)
            };
            tokio::select! {
                () = stop.cancelled() => return,
                delivered = delivered => match delivered {
                    Ok(accepted) => {
                        self.tell_series(accepted.series);
                        self.status.send_modify(|status| {
                            status.rows_by_realtime += accepted.stored;
                            if accepted.stored > 0 {
                                status.visibility_trouble = None;
                            }
                            status.duplicates += accepted.duplicates;
                            status.refused += accepted.refused;
                        });
                        for row in &batch {
                            self.emit(IngestEvent::Arrived { id: row.id });
                        }
                        if accepted.stored > 0 {
                            self.emit(IngestEvent::Stored { pairs: accepted.stored });
                        }
                    }
                    Err(error) => {
                        self.fail(&error);
                        self.gap();
                    }
                },
            }
            self.status.send_modify(|status| status.undelivered -= received as u64);
            if received == 0 {
                // The channel is closed: the connect loop has stopped.
                return;
            }
            batch.clear();
        }
    }

    pub(super) fn sweeper<'a>(&'a self, progress: &'a (dyn Fn(u64, i64) + Sync)) -> Sweep<'a, I> {
        Sweep {
            progress,
            table: &self.table,
            inbox: &self.inbox,
            reported: &self.reported,
            revising: &self.revising,
            vanishing: &self.vanishing,
            updates: &self.updates,
            inserts: &self.inserts,
            metrics: &self.metrics,
            page: self.timing.page,
            compare: self.timing.compare,
            overlap: self.timing.overlap,
        }
    }

    /// Tells, once, that the table's ids have started anew, and asks for a sweep: rows of the new series
    /// may be anywhere below the cursor.
    pub(super) fn tell_series(&self, series: Option<u32>) {
        let before = self.status.borrow().series;
        // Before the first sweep has read its position, nobody knows what was told before.
        let (Some(series), Some(before)) = (series, before) else { return };
        // A text that is used again says nothing of the others.
        if series > before && !self.table.has_text_ids() {
            warn!(series, "the table's ids have started anew; its rows are taken in beside the earlier ones");
            self.status.send_modify(|status| status.series = Some(series));
            self.emit(IngestEvent::IdsStartedAnew { series });
            self.sweep_trigger.sweep();
        }
    }

    /// Records that rows may be missing, and asks for a sweep.
    fn gap(&self) {
        self.status.send_modify(|status| status.gaps += 1);
        self.sweep_trigger.sweep();
    }

    pub(super) fn fail(&self, error: &SweepError) {
        let trouble = ReportedError::of(error);
        if self.status.borrow().sweep_trouble.as_ref() == Some(&trouble) {
            debug!(error = %trouble.error, "the ingest still fails and will try again");
        } else {
            let ReportedError { error, remedy, advice } = &trouble;
            warn!(%error, ?remedy, %advice, "the ingest failed and will try again");
        }
        self.status.send_modify(|status| status.sweep_trouble = Some(trouble.clone()));
        self.emit(IngestEvent::Failed { trouble });
    }

    pub(super) fn emit(&self, event: IngestEvent) {
        // An error only means that nobody is subscribed.
        let _ = self.events.send(event);
    }
}
