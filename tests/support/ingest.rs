//! In-memory inbox, and shared helpers of the ingest tests.

// Clippy exempts only functions with a test attribute, but these helpers fail tests in the same
// way.
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use autovalidate::correction::Row;
use autovalidate::failure::{Failure, RetryDirective};
use autovalidate::ingest::{
    Accepted, Inbox, InboxError, Ingest, IngestEvent, IngestStatus, IngestTiming, RealtimeDeadlines,
    SweepTrigger, TableAccess,
};
use autovalidate_fakes::supabase::{Options, Supabase};
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
    cursor: watch::Sender<i64>,
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

impl Inbox for Memory {
    async fn accept(&self, rows: &[Row]) -> Result<Accepted, InboxError> {
        if self.failing.load(Ordering::SeqCst) {
            self.refused_calls.fetch_add(1, Ordering::SeqCst);
            return Err(InboxError::new(Full));
        }
        self.held.subscribe().wait_for(|held| !held).await.expect("the inbox lives");
        let mut accepted = Accepted::default();
        self.rows.send_modify(|stored| {
            for row in rows {
                match stored.insert(row.id, row.clone()) {
                    None => accepted.stored += 1,
                    Some(_) => accepted.duplicates += 1,
                }
            }
        });
        Ok(accepted)
    }

    async fn count_up_to(&self, last: i64) -> Result<u64, InboxError> {
        Ok(self.rows.borrow().range(..=last).count() as u64)
    }

    async fn missing(&self, ids: &[i64]) -> Result<Vec<i64>, InboxError> {
        let rows = self.rows.borrow();
        Ok(ids.iter().copied().filter(|id| !rows.contains_key(id)).collect())
    }

    async fn cursor(&self) -> Result<i64, InboxError> {
        Ok(*self.cursor.borrow())
    }

    async fn advance(&self, id: i64) -> Result<(), InboxError> {
        self.cursor.send_replace(id);
        Ok(())
    }
}

impl Memory {
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
        *self.cursor.borrow()
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
    let options = Options {
        poll: Duration::from_millis(10),
        subscribed_delay: Duration::from_millis(20),
        upgrade_error_delay: Duration::from_millis(20),
        join_error_delay: Duration::from_millis(20),
        ..Options::default()
    };
    Supabase::start(options).await.expect("the stand-in starts")
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
