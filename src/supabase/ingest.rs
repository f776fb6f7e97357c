//! The ingest: Realtime for speed, sweeps for certainty, merged into one inbox.
//!
//! Three loops run side by side and end together. `connect` lives one generation of the Realtime connection
//! after the other. `deliver` hands what they receive to the inbox at once. `sweep` reads the table: at start,
//! whenever something may have been missed, when woken from outside, and every minute regardless. No row
//! depends on Realtime: whatever goes wrong there costs latency only.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::access::Access;
use super::audit::{Auditor, Invisible};
use super::backoff;
use super::end::End;
use super::inbox::Inbox;
use super::realtime::{self, Limits, Sign};
use super::rest::Table;
use super::rest_error::RestError;
use super::status::{Backfill, IngestEvent, IngestStatus, Trouble};
use super::sweep::{Known, Sweep, SweepError, Swept};
use crate::correction::Row;
use crate::failure::Failure;

/// Rows handed to the inbox at once.
const BATCH: usize = 100;
/// Time between two reports of a long sweep's progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// Events kept for a slow follower.
const EVENTS: usize = 256;

/// How often and how far the ingest looks.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Time between sweeps when nothing else asks for one.
    pub sweep_every: Duration,
    /// Time between comparisons of the table's count with the inbox's. The first follows the first sweep.
    pub audit_every: Duration,
    /// Time between sweeps at least, however often one is asked for.
    pub breath: Duration,
    /// Rows per request; at most the server's cap (1000 on Supabase).
    pub page: usize,
    /// How far below the cursor late commits are looked for, in ids.
    pub overlap: i64,
    /// Rows received and not yet delivered; beyond that they are left to a sweep.
    pub buffer: usize,
    /// A connection that lived this long starts the backoff anew.
    pub steady: Duration,
    /// Deadlines of the Realtime connection.
    pub limits: Limits,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            sweep_every: Duration::from_secs(60),
            audit_every: Duration::from_secs(600),
            breath: Duration::from_millis(250),
            page: 1000,
            overlap: 1000,
            buffer: 1024,
            steady: Duration::from_secs(30),
            limits: Limits::default(),
        }
    }
}

/// Asks the ingest for a sweep, from a webhook for instance. Cheap, and many calls make one sweep.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Asks for a sweep now.
    pub fn sweep(&self) {
        self.0.notify_one();
    }
}

/// Brings every row of the table to an inbox.
#[derive(Debug)]
pub struct Ingest<I> {
    access: Access,
    table: Table,
    inbox: Arc<I>,
    pace: Pace,
    known: Known,
    wake: Wake,
    status: watch::Sender<IngestStatus>,
    events: broadcast::Sender<IngestEvent>,
}

impl<I: Inbox> Ingest<I> {
    /// An ingest that does nothing until [`run`](Self::run).
    ///
    /// # Errors
    /// [`RestError::Access`] for an address or key that can't be used.
    pub fn new(access: Access, inbox: Arc<I>, pace: Pace) -> Result<Self, RestError> {
        Ok(Self {
            table: Table::new(&access)?,
            access,
            inbox,
            pace,
            known: Known::default(),
            wake: Wake::default(),
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
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Runs until `stop`. Never gives up: what a person must mend is shown in the status and tried again.
    pub async fn run(self, stop: CancellationToken) {
        let (sender, receiver) = mpsc::channel(self.pace.buffer.max(1));
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
            let end = realtime::live(&self.access, &self.pace.limits, stop, report).await;
            self.status.send_modify(|status| status.connected = false);
            if matches!(end, End::Stopped) {
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
            attempt = if begun.elapsed() >= self.pace.steady { 0 } else { attempt + 1 };
            let step = usize::saturating_sub(attempt, 1);
            let wait = backoff::delay(end.remedy(), step, end.retry_after(), rand::random());
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// Takes what a generation reports. Called by the socket's reader, so it never waits: a row that finds the
    /// buffer full is left to a sweep.
    fn report(&self, generation: u64, sign: Sign, rows: &mpsc::Sender<Row>) {
        match sign {
            Sign::Subscribed => {
                info!(generation, "realtime subscribed");
                self.status.send_modify(|status| {
                    status.connected = true;
                    status.realtime_trouble = None;
                });
                self.tell(IngestEvent::Subscribed { generation });
                self.gap();
            }
            Sign::Row(row) => {
                if rows.try_send(row).is_err() {
                    self.gap();
                }
            }
            // The sweep meets the same row and counts it.
            Sign::Malformed(_) | Sign::Gap => self.gap(),
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

    async fn sweep(&self, stop: &CancellationToken) {
        let mut cursor = None;
        let mut auditor = Auditor::default();
        let mut audit_due = Instant::now();
        let mut failures = 0;
        let mut due = Instant::now();
        let mut rested = due;
        loop {
            let woken = async {
                sleep_until(rested).await;
                self.wake.0.notified().await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(due) => {}
                // While the table or the inbox is in trouble, only the backoff decides.
                () = woken, if failures == 0 => {}
            }
            let work = async {
                self.sweep_once(&mut cursor).await?;
                if Instant::now() >= audit_due {
                    match self.audit(&mut auditor, cursor.unwrap_or_default()).await {
                        // A count may be too much for a large table: what the sweep brings must not wait for it.
                        Err(SweepError::Rest(error)) => {
                            warn!(error = crate::failure::chain(&error), "the audit is put off");
                        }
                        audited => audited?,
                    }
                    audit_due = Instant::now() + self.pace.audit_every;
                }
                Ok(())
            };
            let swept = tokio::select! {
                () = stop.cancelled() => return,
                swept = Box::pin(work) => swept,
            };
            rested = Instant::now() + self.pace.breath;
            let wait = match swept {
                Ok(()) => {
                    failures = 0;
                    self.pace.sweep_every
                }
                Err(error) => {
                    self.fail(&error);
                    failures += 1;
                    backoff::delay(error.remedy(), failures - 1, error.retry_after(), rand::random())
                }
            };
            due = Instant::now() + wait;
        }
    }

    async fn sweep_once(&self, known_cursor: &mut Option<i64>) -> Result<(), SweepError> {
        let begun = Instant::now();
        let told = std::sync::atomic::AtomicU64::new(0);
        let total = std::sync::OnceLock::new();
        let long = Notify::new();
        let progress = |read: u64, cursor: i64| {
            let slot = (begun.elapsed().as_millis() / PROGRESS_EVERY.as_millis()) as u64;
            if told.swap(slot, std::sync::atomic::Ordering::Relaxed) != slot {
                long.notify_one();
                self.progress(Backfill { read, total: total.get().copied(), cursor }, begun.elapsed());
            }
        };
        let sweeper = self.sweeper(&progress);
        let mut cursor = match *known_cursor {
            Some(cursor) => cursor,
            None => sweeper.in_time(self.inbox.cursor()).await?,
        };
        let mut swept = Swept::default();
        let from = cursor;
        // How much lies ahead is worth knowing once a sweep is long; it is no reason to wait when the table doesn't say.
        let counting = async {
            long.notified().await;
            if let (Ok(all), Ok(done)) = tokio::join!(self.table.count(), self.table.count_up_to(from)) {
                let _ = total.set(all.saturating_sub(done));
            }
            std::future::pending().await
        };
        let result = tokio::select! {
            result = sweeper.run(&mut cursor, &mut swept) => result,
            never = counting => never,
        };
        *known_cursor = Some(cursor);
        self.status.send_modify(|status| {
            status.backfill = None;
            status.rows_by_sweep += swept.accepted.stored;
            if swept.accepted.stored > 0 {
                status.visibility_trouble = None;
            }
            status.duplicates += swept.accepted.duplicates;
            status.refused += swept.accepted.refused;
            status.malformed += swept.malformed;
        });
        result?;
        self.status.send_modify(|status| {
            status.sweeps += 1;
            status.last_sweep_at = Some(Timestamp::now());
            status.sweep_trouble = None;
        });
        debug!(stored = swept.accepted.stored, cursor, "swept");
        self.tell(IngestEvent::Swept { stored: swept.accepted.stored, cursor });
        Ok(())
    }

    /// Compares the table with the inbox, and tells once when no row is visible.
    async fn audit(&self, auditor: &mut Auditor, cursor: i64) -> Result<(), SweepError> {
        let mut swept = Swept::default();
        let audited = auditor.audit(&self.sweeper(&|_, _| {}), cursor, &mut swept).await?;
        let trouble = audited.invisible.as_ref().map(Trouble::of);
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
                // Most tables are empty at first: worth a word, no alarm.
                Some(Invisible::EmptyOrHidden { .. }) | None => {
                    info!(advice = %trouble.advice, "no row is visible yet");
                    0
                }
            };
            self.tell(IngestEvent::Invisible { kept, trouble });
        }
        self.tell(IngestEvent::Audited { found: audited.found });
        Ok(())
    }

    fn progress(&self, backfill: Backfill, elapsed: Duration) {
        let per_second = backfill.read as f64 / elapsed.as_secs_f64().max(0.001);
        let Backfill { read, total, cursor } = backfill;
        info!(read, total, cursor, per_second = per_second as u64, "back-filling");
        self.status.send_modify(|status| status.backfill = Some(backfill));
        self.tell(IngestEvent::Progress(backfill));
    }

    fn sweeper<'a>(&'a self, progress: &'a (dyn Fn(u64, i64) + Sync)) -> Sweep<'a, I> {
        Sweep {
            progress,
            table: &self.table,
            inbox: &self.inbox,
            known: &self.known,
            page: self.pace.page,
            overlap: self.pace.overlap,
        }
    }

    /// Something may be missing.
    fn gap(&self) {
        self.status.send_modify(|status| status.gaps += 1);
        self.wake.sweep();
    }

    fn fail(&self, error: &SweepError) {
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

    fn tell(&self, event: IngestEvent) {
        // No follower is no fault.
        let _ = self.events.send(event);
    }
}
