//! A local Supabase: PostgREST subset, Realtime, webhook.
//!
//! Owns one table in memory and speaks the services' wire protocols well enough for the official
//! clients. Switches ([`Faults`]) inject the failures of the real services. Never persists
//! anything, knows no credentials but its own fixed keys, and is for development and tests only.
//!
//! ```text
//! table      rows and commit log
//! primary_key  types of the primary key, and made-up ids
//! place      places of rows in the order of their times
//! keys       API keys and their roles
//! rest       PostgREST: reads and inserts over HTTP
//! change     PostgREST: updates and deletes over HTTP
//! query      PostgREST query strings: select, filters, order, limit
//! filter     conditions on rows
//! grammar    PostgREST's grammar of conditions
//! bounds     bounds on the rows that conditions can match
//! upgrade    Realtime's websocket upgrade
//! realtime   session of one websocket
//! channel    joined channels and the payloads for them
//! frame      Phoenix framing, versions 1 and 2
//! webhook    one POST per changed row
//! faults     switches that inject faults
//! script     the fault switches by name, for the command line
//! late       transactions that commit late
//! ```

mod bounds;
mod change;
mod channel;
mod faults;
mod filter;
mod frame;
mod grammar;
mod keys;
mod late;
mod place;
mod primary_key;
mod query;
mod realtime;
mod rest;
mod script;
mod table;
mod upgrade;
mod webhook;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use faults::{Faults, RestFault, SocketFault};
use keys::Keys;
use late::Late;
pub use primary_key::IdType;
pub use script::{FaultError, NamedFault};
use table::{Record, Table};

/// Time that [`Supabase::shutdown`] allows open requests before it drops them.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(3);

/// Options of the stand-in.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on; port 0 picks a free port.
    pub listen: SocketAddr,
    /// Schema of the table.
    pub schema: String,
    /// Name of the table.
    pub table: String,
    /// Type of the table's primary key.
    pub id_type: IdType,
    /// PostgREST's `db-max-rows`: longer results are truncated silently.
    pub max_rows: usize,
    /// Interval at which Realtime polls the commit log.
    pub poll: Duration,
    /// Delay before Realtime rejects a websocket.
    pub upgrade_error_delay: Duration,
    /// Delay before Realtime rejects a join.
    pub join_error_delay: Duration,
    /// Time between a join's reply and `Subscribed to PostgreSQL`.
    pub subscribed_delay: Duration,
    /// Time without a client frame after which Realtime closes a socket.
    pub silence: Duration,
    /// Time without a channel after which Realtime closes a socket.
    pub idle: Duration,
    /// True when the table has `replica identity full`: events then carry the whole row before a
    /// change, not just its primary key.
    pub full_replica_identity: bool,
    /// True when the table has row-level security: the event of a deletion then carries the primary
    /// key only, and the `anon` role can change no row.
    pub row_level_security: bool,
    /// Endpoint called for every inserted, updated and deleted row.
    pub webhook: Option<Webhook>,
    /// The fault switches. Keep a clone to flip them later.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            schema: "public".to_owned(),
            table: "typo_training_dataset".to_owned(),
            id_type: IdType::BigInt,
            max_rows: 1000,
            poll: Duration::from_millis(100),
            upgrade_error_delay: Duration::from_secs(2),
            join_error_delay: Duration::from_secs(5),
            subscribed_delay: Duration::from_millis(50),
            silence: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            full_replica_identity: false,
            row_level_security: true,
            webhook: None,
            faults: Faults::default(),
        }
    }
}

/// A database webhook: its endpoint, and the header that carries the secret.
#[derive(Clone)]
pub struct Webhook {
    /// URL of the endpoint.
    pub url: Url,
    /// Name of the header.
    pub header: String,
    /// Value of the header.
    pub secret: String,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Webhook").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Reason why the stand-in could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("can't listen on {address}")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The webhook's HTTP client can't be built.
    #[error("can't build the webhook's HTTP client")]
    Client(#[source] reqwest::Error),
    /// The bound address cannot be written as a URL.
    #[error("can't write the bound address as a URL")]
    Address(#[source] url::ParseError),
}

/// State that all requests and sockets share.
#[derive(Debug)]
struct Shared {
    options: Options,
    faults: Faults,
    keys: Keys,
    table: Mutex<Table>,
    /// Page that a cache keeps while it serves stale pages.
    stale_page: Mutex<Option<Vec<Record>>>,
    /// Number of reads so far.
    reads: AtomicU64,
    commits: watch::Sender<usize>,
    late: mpsc::UnboundedSender<Late>,
    stop: CancellationToken,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // No code panics while it holds the lock, and a commit is complete once its row is in the
        // log.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the page that a client gets: this one, or an older one while stale pages are served.
    fn cached(&self, page: Vec<Record>) -> Vec<Record> {
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
    fn submit(&self, id: i64, values: Record) {
        let delay = self.faults.commit_delay();
        if delay.is_zero() {
            self.commit(id, values);
            return;
        }
        // The receiver is gone when the stand-in is stopping: it commits nothing more.
        let _ = self.late.send(Late { id, values, after: delay.mul_f64(rand::random()) });
    }

    fn commit(&self, id: i64, values: Record) -> Option<Record> {
        self.commit_all(vec![(id, values)])?.pop()
    }

    /// Commits several rows as one transaction. When an id is taken, returns `None` and commits
    /// nothing.
    fn commit_all(&self, rows: Vec<(i64, Record)>) -> Option<Vec<Record>> {
        self.change(|table, at| table.commit_all(rows, at))
    }

    /// Changes the table as one transaction, dated by the database's clock.
    fn change<T>(&self, change: impl FnOnce(&mut Table, Timestamp) -> T) -> T {
        let at = Timestamp::now() + self.faults.clock_skew();
        let (changed, committed) = {
            let mut table = self.table();
            (change(&mut table, at), table.committed())
        };
        self.commits.send_replace(committed);
        changed
    }
}

/// A running stand-in. Dropping it stops the server.
#[derive(Debug)]
pub struct Supabase {
    shared: Arc<Shared>,
    url: Url,
    tasks: JoinSet<()>,
}

/// An id that a transaction has taken from the sequence but not committed yet.
#[derive(Debug)]
#[must_use = "an id that is never committed leaves a gap, as a rolled-back transaction does"]
pub struct Reservation(i64);

impl Reservation {
    /// Returns the reserved number.
    pub fn id(&self) -> i64 {
        self.0
    }
}

impl Supabase {
    /// Binds the address and serves until [`shutdown`](Self::shutdown) or drop.
    ///
    /// # Errors
    /// [`StartError`] when the address can't be bound.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let address = options.listen;
        let listen = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let url = Url::parse(&format!("http://{bound}")).map_err(StartError::Address)?;

        let (late, rows) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            late,
            faults: options.faults.clone(),
            keys: Keys::local(),
            table: Mutex::new(Table::new(options.id_type)),
            options,
            stale_page: Mutex::default(),
            reads: AtomicU64::new(0),
            commits: watch::Sender::new(0),
            stop: CancellationToken::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(late::commit(Arc::clone(&shared), rows));
        if let Some(target) = shared.options.webhook.clone() {
            let client = reqwest::Client::builder().build().map_err(StartError::Client)?;
            tasks.spawn(webhook::call(Arc::clone(&shared), target, client, shared.commits.subscribe()));
        }
        let app = Router::new()
            .route(
                "/rest/v1/{table}",
                get(rest::read).post(rest::write).patch(change::patch).delete(change::delete),
            )
            .route("/realtime/v1/websocket", get(upgrade::upgrade))
            .route("/socket/websocket", get(upgrade::upgrade))
            .with_state(Arc::clone(&shared));
        // Frames are small, so Nagle's algorithm would only add latency.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let stop = shared.stop.clone();
        tasks.spawn(async move {
            // `serve` never fails by itself; it ends when the token is cancelled.
            let _ = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
        });
        Ok(Self { shared, url, tasks })
    }

    /// Returns the project's URL, such as `http://127.0.0.1:54321/`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the legacy `anon` key, a JWT.
    pub fn anon_key(&self) -> &str {
        &self.shared.keys.anon
    }

    /// Returns the legacy `service_role` key, a JWT.
    pub fn service_key(&self) -> &str {
        &self.shared.keys.service
    }

    /// Returns the publishable key: the newer key of the `anon` role.
    pub fn publishable_key(&self) -> &str {
        &self.shared.keys.publishable
    }

    /// Returns the secret key: the newer key of the `service_role`.
    pub fn secret_key(&self) -> &str {
        &self.shared.keys.secret
    }

    /// Returns the fault switches.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Returns a receiver for the number of changes committed so far, which grows with every commit.
    pub fn commits(&self) -> watch::Receiver<usize> {
        self.shared.commits.subscribe()
    }

    /// Inserts a pair as another client would, and returns its number: its id in a `bigint` table.
    /// Rows of every table are found by their numbers here.
    pub fn insert(&self, typo: &str, corrected: &str, domain: &str) -> i64 {
        let id = self.reserve().id();
        self.shared.submit(id, pair(typo, corrected, domain));
        id
    }

    /// Inserts many pairs in one transaction dated `at`, as an import does.
    pub fn import(&self, pairs: impl IntoIterator<Item = (String, String, String)>, at: Timestamp) {
        let mut table = self.shared.table();
        for (typo, corrected, domain) in pairs {
            let id = table.reserve();
            table.commit(id, pair(&typo, &corrected, &domain), at);
        }
        let committed = table.committed();
        drop(table);
        self.shared.commits.send_replace(committed);
    }

    /// Returns the id of a row as services show it: a made-up one, unless the insert or an update chose
    /// one. A row that is deleted or not committed yet has one, too, but none of before a
    /// [`truncate_restart_identity`](Self::truncate_restart_identity).
    pub fn id_text(&self, id: i64) -> String {
        self.shared.table().id_text(id)
    }

    /// Returns the number of reads of the table so far, over HTTP.
    pub fn reads(&self) -> u64 {
        self.shared.reads.load(Ordering::Relaxed)
    }

    /// Returns the numbers of all visible rows.
    pub fn ids(&self) -> Vec<i64> {
        self.shared.table().ids()
    }

    /// Changes a pair as another client would, and returns true when the row exists.
    pub fn update(&self, id: i64, typo: &str, corrected: &str, domain: &str) -> bool {
        self.update_values(id, &pair(typo, corrected, domain))
    }

    /// Changes columns of a row to arbitrary values, and returns true when the row exists.
    pub fn update_values(&self, id: i64, values: &Map<String, Value>) -> bool {
        self.shared.change(|table, at| table.update(id, values, at)).is_some()
    }

    /// Deletes a row as another client would, and returns true when the row existed.
    pub fn delete(&self, id: i64) -> bool {
        self.shared.change(|table, at| table.delete(id, at)).is_some()
    }

    /// Deletes all rows and starts the numbers at 1 again, as `truncate ... restart identity` does.
    /// Ids of other types do not come back. Neither Realtime nor the webhook tells.
    pub fn truncate_restart_identity(&self) {
        self.shared.change(|table, _| table.truncate_restart_identity());
    }

    /// Inserts a row with arbitrary values, such as a number in a text column, and returns its number.
    /// In a table of uuids or texts, the values may have an `id`.
    pub fn insert_values(&self, values: Map<String, Value>) -> i64 {
        let id = self.shared.table().reserve();
        self.shared.commit(id, values);
        id
    }

    /// Reserves an id, as a transaction does that commits later.
    pub fn reserve(&self) -> Reservation {
        Reservation(self.shared.table().reserve())
    }

    /// Commits a pair under a reserved id.
    pub fn commit(&self, reservation: Reservation, typo: &str, corrected: &str, domain: &str) {
        self.shared.commit(reservation.id(), pair(typo, corrected, domain));
    }

    /// Stops serving, closes the sockets, and waits for the tasks until a deadline.
    pub async fn shutdown(mut self) {
        self.shared.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_DEADLINE, ended).await.is_err() {
            self.tasks.abort_all();
        }
    }
}

fn pair(typo: &str, corrected: &str, domain: &str) -> Record {
    let columns = [("typo", typo), ("corrected", corrected), ("domain", domain)];
    columns.map(|(name, text)| (name.to_owned(), Value::from(text))).into_iter().collect()
}

impl Drop for Supabase {
    /// Cancels the tasks of the sockets, which are outside the task set. Dropping the set ends all
    /// other tasks.
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
