//! State that all requests and sockets share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::faults::Faults;
use super::keys::Keys;
use super::late::Late;
use super::options::Options;
use super::postgres::column::Columns;
use super::query::Row;
use super::realtime::Hub;
use super::table::{Record, Table};

/// State that all requests and sockets share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) faults: Faults,
    pub(super) keys: Keys,
    table: Mutex<Table>,
    /// Page that a cache keeps while it serves stale pages.
    stale_page: Mutex<Option<Vec<Row>>>,
    /// Number of reads so far.
    pub(super) reads: AtomicU64,
    pub(super) commits: watch::Sender<usize>,
    pub(super) late: mpsc::UnboundedSender<Late>,
    pub(super) hub: Hub,
    pub(super) stop: CancellationToken,
}

impl Shared {
    /// Returns the state of a stand-in that has just started, and a receiver of late commits.
    pub(super) fn new(options: Options) -> (Arc<Self>, mpsc::UnboundedReceiver<Late>) {
        let (late, rows) = mpsc::unbounded_channel();
        let columns = columns(&options);
        let shared = Self {
            late,
            faults: options.faults.clone(),
            keys: Keys::local(),
            table: Mutex::new(Table::new(columns)),
            options,
            stale_page: Mutex::default(),
            reads: AtomicU64::new(0),
            commits: watch::Sender::new(0),
            hub: Hub::default(),
            stop: CancellationToken::new(),
        };
        (Arc::new(shared), rows)
    }

    /// Returns the columns of the table.
    pub(super) fn columns(&self) -> Columns {
        columns(&self.options)
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        // No code panics while it holds the lock, and a commit is complete once its row is in the
        // log.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the page that a client gets: this one, or an older one while stale pages are served.
    pub(super) fn cached(&self, page: Vec<Row>) -> Vec<Row> {
        let mut stale = self.stale_page.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.faults.pages_stale() {
            *stale = None;
            return page;
        }
        // An empty page would look like the end of the table to every question.
        if stale.is_none() && page.is_empty() {
            return page;
        }
        stale.get_or_insert(page).clone()
    }

    /// Commits at once, or after a random part of the commit delay when that fault is switched on.
    pub(super) fn submit(&self, id: i64, values: Record) {
        let delay = self.faults.commit_delay();
        if delay.is_zero() {
            self.commit(id, values);
            return;
        }
        // The receiver is gone when the stand-in is stopping: it commits nothing more.
        let _ = self.late.send(Late { id, values, after: delay.mul_f64(rand::random()) });
    }

    pub(super) fn commit(&self, id: i64, values: Record) -> Option<Record> {
        self.commit_all(vec![(id, values)])?.pop()
    }

    /// Commits several rows as one transaction. When an id is taken, returns `None` and commits
    /// nothing.
    pub(super) fn commit_all(&self, rows: Vec<(i64, Record)>) -> Option<Vec<Record>> {
        self.change(|table, at| table.commit_all(rows, at))
    }

    /// Changes the table as one transaction, dated by the database's clock.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Table, Timestamp) -> T) -> T {
        let at = Timestamp::now() + self.faults.clock_skew();
        let (changed, committed) = {
            let mut table = self.table();
            (change(&mut table, at), table.committed())
        };
        self.commits.send_replace(committed);
        changed
    }
}

fn columns(options: &Options) -> Columns {
    Columns { id: options.id_type, created_at: options.time_type, required: options.required_texts }
}
