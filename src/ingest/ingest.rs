//! The ingest: Realtime for speed, sweeps for certainty, merged into one inbox.
//!
//! Three loops run side by side and end together. `connect` lives one generation of the Realtime connection
//! after the other. `deliver` hands what they receive to the inbox at once. `sweep` (in `rounds`) reads the table: at
//! start, whenever something may have been missed, when woken from outside, and every minute regardless. No row
//! depends on Realtime: whatever goes wrong there costs latency only.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::access::TableAccess;
use super::backoff;
use super::disconnect_reason::DisconnectReason;
use super::inbox::Inbox;
use super::realtime;
use super::realtime_event::RealtimeEvent;
use super::rest::Table;
use super::rest_error::RestError;
use super::status::{IngestEvent, IngestStatus, Trouble};
use super::sweep::{Known, Sweep, SweepError};
use super::sweep_trigger::SweepTrigger;
use super::timing::IngestTiming;
use crate::correction::Row;
use crate::failure::Failure;

/// Rows handed to the inbox at once.
const BATCH: usize = 100;
/// Events kept for a slow follower.
const EVENTS: usize = 256;

/// Brings every row of the table to an inbox.
#[derive(Debug)]
pub struct Ingest<I> {
    access: TableAccess,
    pub(super) table: Table,
    pub(super) inbox: Arc<I>,
    pub(super) timing: IngestTiming,
    known: Known,
    pub(super) sweep_trigger: SweepTrigger,
    pub(super) status: watch::Sender<IngestStatus>,
    events: broadcast::Sender<IngestEvent>,
}

impl<I: Inbox> Ingest<I> {
    /// An ingest that does nothing until [`run`](Self::run).
    ///
    /// # Errors
    /// [`RestError::TableAccess`] for an address or key that can't be used.
    pub fn new(access: TableAccess, inbox: Arc<I>, timing: IngestTiming) -> Result<Self, RestError> {
        Ok(Self {
            table: Table::new(&access)?,
            access,
            inbox,
            timing,
            known: Known::default(),
            sweep_trigger: SweepTrigger::default(),
            status: watch::Sender::default(),
            events: broadcast::Sender::new(EVENTS),
        })
    }

    /// The state, now and as it changes.
    pub fn status(&self) -> watch::Receiver<IngestStatus> {
        self.status.subscribe()
    }

    /// Events from now on; a follower that falls behind misses some.
    pub fn events(&self) -> broadcast::Receiver<IngestEvent> {
        self.events.subscribe()
    }

    /// A handle that asks for sweeps.
    pub fn sweep_trigger(&self) -> SweepTrigger {
        self.sweep_trigger.clone()
    }

    /// Runs until `stop`. Never gives up: what a person must mend is shown in the status and tried again.
    pub async fn run(self, stop: CancellationToken) {
        let (sender, receiver) = mpsc::channel(self.timing.buffer.max(1));
        // All three own nothing that needs an orderly end: the inbox alone is durable.
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
            self.tell(IngestEvent::GenerationStarted { generation });
            let begun = Instant::now();
            let report = |sign| self.report(generation, sign, &rows);
            let end = realtime::live(&self.access, &self.timing.limits, stop, report).await;
            self.status.send_modify(|status| status.connected = false);
            if matches!(end, DisconnectReason::Stopped) {
                return;
            }
            self.gap();
            let trouble = Trouble::of(&end);
            if self.status.borrow().realtime_trouble.as_ref() == Some(&trouble) {
                debug!(generation, error = %trouble.error, "realtime ended again");
            } else {
                let Trouble { error, remedy, advice } = &trouble;
                warn!(generation, %error, ?remedy, %advice, "realtime ended");
            }
            self.status.send_modify(|status| status.realtime_trouble = Some(trouble.clone()));
            self.tell(IngestEvent::GenerationEnded { generation, trouble });
            attempt = if begun.elapsed() >= self.timing.steady { 0 } else { attempt + 1 };
            let step = usize::saturating_sub(attempt, 1);
            let wait = backoff::delay(end.directive(), step, end.retry_after(), rand::random());
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// Takes what a generation reports. Called by the socket's reader, so it never waits: a row that finds the
    /// buffer full is left to a sweep.
    fn report(&self, generation: u64, sign: RealtimeEvent, rows: &mpsc::Sender<Row>) {
        match sign {
            RealtimeEvent::Subscribed => {
                info!(generation, "realtime subscribed");
                self.status.send_modify(|status| {
                    status.connected = true;
                    status.realtime_trouble = None;
                });
                self.tell(IngestEvent::Subscribed { generation });
                self.gap();
            }
            RealtimeEvent::Row(row) => {
                if let Err(mpsc::error::TrySendError::Full(row) | mpsc::error::TrySendError::Closed(row)) =
                    rows.try_send(row)
                {
                    self.sweep_trigger.row(row.id);
                    self.gap();
                }
            }
            RealtimeEvent::Partial(id) => {
                self.sweep_trigger.row(id);
                self.gap();
            }
            // The sweep meets the same row and counts it.
            RealtimeEvent::Malformed(_) | RealtimeEvent::Gap => self.gap(),
        }
    }

    async fn deliver(&self, mut rows: mpsc::Receiver<Row>, stop: &CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let delivered = async {
                rows.recv_many(&mut batch, BATCH).await;
                self.sweeper(&|_, _| {}).accept(&batch).await
            };
            tokio::select! {
                () = stop.cancelled() => return,
                delivered = delivered => match delivered {
                    Ok(accepted) => {
                        self.status.send_modify(|status| {
                            status.rows_by_realtime += accepted.stored;
                            if accepted.stored > 0 {
                                status.visibility_trouble = None;
                            }
                            status.duplicates += accepted.duplicates;
                            status.refused += accepted.refused;
                        });
                        for row in &batch {
                            self.tell(IngestEvent::Arrived { id: row.id });
                        }
                    }
                    Err(error) => {
                        self.fail(&error);
                        self.gap();
                    }
                },
            }
            if batch.is_empty() {
                // Nobody sends any more: the connecting loop has stopped.
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
            known: &self.known,
            page: self.timing.page,
            overlap: self.timing.overlap,
        }
    }

    /// Something may be missing.
    fn gap(&self) {
        self.status.send_modify(|status| status.gaps += 1);
        self.sweep_trigger.sweep();
    }

    pub(super) fn fail(&self, error: &SweepError) {
        let trouble = Trouble::of(error);
        if self.status.borrow().sweep_trouble.as_ref() == Some(&trouble) {
            debug!(error = %trouble.error, "the ingest is still held up");
        } else {
            let Trouble { error, remedy, advice } = &trouble;
            warn!(%error, ?remedy, %advice, "the ingest is held up");
        }
        self.status.send_modify(|status| status.sweep_trouble = Some(trouble.clone()));
        self.tell(IngestEvent::Failed { trouble });
    }

    pub(super) fn tell(&self, event: IngestEvent) {
        // No follower is no fault.
        let _ = self.events.send(event);
    }
}
