//! A local Supabase: PostgREST subset, Realtime, webhook.
//!
//! Owns one table in memory and speaks the services' wire protocols well enough for the official clients,
//! with switches ([`Faults`]) that make it fail the way they fail. Never persists anything, never checks who
//! calls beyond its own fixed keys, and is for development and tests only.
//!
//! ```text
//! table      rows and commit log
//! keys       API keys and their roles
//! rest       PostgREST: reading and writing over HTTP
//! query      a PostgREST query string: select, filters, order, limit
//! filter     what rows must satisfy
//! upgrade    Realtime's door
//! realtime   a websocket's session
//! channel    a joined channel and the payloads it is sent
//! frame      Phoenix framing, versions 1 and 2
//! webhook    one POST per row
//! faults     the switches
//! script     the switches by name, for the command line
//! late       transactions that commit late
//! ```

mod channel;
mod faults;
mod filter;
mod frame;
mod keys;
mod late;
mod query;
mod realtime;
mod rest;
mod script;
mod table;
mod upgrade;
mod webhook;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
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
pub use script::{FaultError, NamedFault};
use table::{Record, Table};

/// How long [`Supabase::shutdown`] waits for open requests before it drops them.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(3);

/// How the stand-in behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Schema of the table.
    pub schema: String,
    /// Name of the table.
    pub table: String,
    /// PostgREST's `db-max-rows`: longer answers are cut in silence.
    pub max_rows: usize,
    /// How often Realtime polls the commit log.
    pub poll: Duration,
    /// How long Realtime waits before it refuses a websocket.
    pub upgrade_error_delay: Duration,
    /// How long Realtime waits before it refuses a join.
    pub join_error_delay: Duration,
    /// Time between a join's reply and `Subscribed to PostgreSQL`.
    pub subscribed_delay: Duration,
    /// Realtime closes a socket that sends nothing for this long.
    pub silence: Duration,
    /// Realtime closes a socket that has no channel for this long.
    pub idle: Duration,
    /// Endpoint called for every inserted row.
    pub webhook: Option<Webhook>,
    /// The switches; keep a clone to flip them.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            schema: "public".to_owned(),
            table: "typo_training_dataset".to_owned(),
            max_rows: 1000,
            poll: Duration::from_millis(100),
            upgrade_error_delay: Duration::from_secs(2),
            join_error_delay: Duration::from_secs(5),
            subscribed_delay: Duration::from_millis(50),
            silence: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            webhook: None,
            faults: Faults::default(),
        }
    }
}

/// A database webhook: where, and which header carries the secret.
#[derive(Clone)]
pub struct Webhook {
    /// The endpoint.
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

/// Why the stand-in could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("can't listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The webhook's HTTP client can't be built.
    #[error("can't build the webhook's HTTP client")]
    Client(#[source] reqwest::Error),
    /// The bound address makes no URL.
    #[error("the bound address makes no URL")]
    Address(#[source] url::ParseError),
}

/// What every request and socket shares.
#[derive(Debug)]
struct Shared {
    options: Options,
    faults: Faults,
    keys: Keys,
    table: Mutex<Table>,
    commits: watch::Sender<usize>,
    late: mpsc::UnboundedSender<Late>,
    stop: CancellationToken,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock, and a commit is complete once its row is in the log.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits at once, or some time within the delay that is switched on.
    fn submit(&self, id: i64, values: Record) {
        let delay = self.faults.commit_delay();
        if delay.is_zero() {
            self.commit(id, values);
            return;
        }
        // A stand-in that is stopping commits nothing more.
        let _ = self.late.send(Late { id, values, after: delay.mul_f64(rand::random()) });
    }

    fn commit(&self, id: i64, values: Record) -> Option<Record> {
        self.commit_all(vec![(id, values)])?.pop()
    }

    /// Commits several rows as one transaction; `None`, and nothing done, when an id is taken.
    fn commit_all(&self, rows: Vec<(i64, Record)>) -> Option<Vec<Record>> {
        let at = Timestamp::now() + self.faults.clock_skew();
        let (records, committed) = {
            let mut table = self.table();
            (table.commit_all(rows, at)?, table.committed())
        };
        self.commits.send_replace(committed);
        Some(records)
    }
}

/// A running stand-in. Dropping it stops it.
#[derive(Debug)]
pub struct Supabase {
    shared: Arc<Shared>,
    url: Url,
    tasks: JoinSet<()>,
}

/// An id taken from the sequence by a transaction that has not committed yet.
#[derive(Debug)]
#[must_use = "an id that is never committed leaves a hole, as a rolled back transaction does"]
pub struct Reservation(i64);

impl Reservation {
    /// The id.
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
            options,
            keys: Keys::local(),
            table: Mutex::default(),
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
            .route("/rest/v1/{table}", get(rest::read).post(rest::write))
            .route("/realtime/v1/websocket", get(upgrade::upgrade))
            .route("/socket/websocket", get(upgrade::upgrade))
            .with_state(Arc::clone(&shared));
        // Frames are small: waiting to fill packets would only add delay.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let stop = shared.stop.clone();
        tasks.spawn(async move {
            // `serve` never fails by itself: it ends when the token is cancelled.
            let _ = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
        });
        Ok(Self { shared, url, tasks })
    }

    /// The project's address, such as `http://127.0.0.1:54321/`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The legacy `anon` key, a JWT.
    pub fn anon_key(&self) -> &str {
        &self.shared.keys.anon
    }

    /// The legacy `service_role` key, a JWT.
    pub fn service_key(&self) -> &str {
        &self.shared.keys.service
    }

    /// The newer key of the `anon` role.
    pub fn publishable_key(&self) -> &str {
        &self.shared.keys.publishable
    }

    /// The newer key of the `service_role`.
    pub fn secret_key(&self) -> &str {
        &self.shared.keys.secret
    }

    /// The switches.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// How many rows were committed so far; changes with every commit.
    pub fn commits(&self) -> watch::Receiver<usize> {
        self.shared.commits.subscribe()
    }

    /// Inserts a pair as another client would, and returns its id.
    pub fn insert(&self, typo: &str, corrected: &str, domain: &str) -> i64 {
        let id = self.reserve().id();
        self.shared.submit(id, pair(typo, corrected, domain));
        id
    }

    /// Inserts many pairs in one transaction, dated `at`, as an import does.
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

    /// The ids of all visible rows.
    pub fn ids(&self) -> Vec<i64> {
        self.shared.table().ids()
    }

    /// Deletes a row, and says whether it was there. Realtime is not told: the worker asks for inserts only.
    pub fn delete(&self, id: i64) -> bool {
        self.shared.table().delete(id)
    }

    /// Inserts a row of any shape, such as a number where a text belongs, and returns its id.
    pub fn insert_values(&self, values: Map<String, Value>) -> i64 {
        let id = self.shared.table().reserve();
        self.shared.commit(id, values);
        id
    }

    /// Takes an id as a transaction does that commits later.
    pub fn reserve(&self) -> Reservation {
        Reservation(self.shared.table().reserve())
    }

    /// Commits a pair under an id taken before.
    pub fn commit(&self, reservation: Reservation, typo: &str, corrected: &str, domain: &str) {
        self.shared.commit(reservation.id(), pair(typo, corrected, domain));
    }

    /// Stops serving, closes the sockets, and waits for the tasks up to a deadline.
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
    /// Sockets are served by tasks of their own: the token ends them, dropping the set ends the rest.
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
