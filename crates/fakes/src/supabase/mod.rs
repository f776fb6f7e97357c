//! A local Supabase: PostgREST subset, Realtime, webhook.
//!
//! Owns one table in memory and speaks the services' wire protocols well enough for the official
//! clients. Switches ([`Faults`]) inject the failures of the real services. Never persists
//! anything, knows no credentials but its own fixed keys, and is for development and tests only.
//!
//! ```text
//! options   options of the stand-in
//! shared    state that all requests and sockets share
//! keys      API keys and their roles
//! token     tokens: JWTs of keys and users
//! gateway   checks API keys before the services
//! rest      PostgREST
//! query     PostgREST's query strings
//! realtime  Realtime
//! webhook   one POST per changed row
//! postgres  types, literals, operators and errors
//! table     rows and commit log
//! faults    switches that inject faults
//! script    the fault switches by name, for the command line
//! late      transactions that commit late
//! ```

mod faults;
mod gateway;
mod keys;
mod late;
mod options;
mod postgres;
mod query;
mod realtime;
mod rest;
mod script;
mod shared;
mod table;
mod token;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::serve::ListenerExt;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

pub use faults::{Faults, RestFault, SocketFault};
pub use options::{Options, Webhook};
pub use postgres::primary_key::IdType;
pub use postgres::timestamp::TimeType;
pub use script::{FaultError, NamedFault};
use shared::Shared;
use table::Record;

/// Time that [`Supabase::shutdown`] allows open requests before it drops them.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(3);

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

        let (shared, rows) = Shared::new(options);
        let mut tasks = JoinSet::new();
        tasks.spawn(late::commit(Arc::clone(&shared), rows));
        if let Some(target) = shared.options.webhook.clone() {
            let client = reqwest::Client::builder().build().map_err(StartError::Client)?;
            tasks.spawn(webhook::call(Arc::clone(&shared), target, client, shared.commits.subscribe()));
        }
        let app = rest::routes().merge(realtime::routes()).with_state(Arc::clone(&shared));
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

    /// Returns the token of a signed-in user, or of another role, that expires at this time.
    pub fn token(&self, role: &str, expiry: Timestamp) -> String {
        token::signed(role, expiry.as_second())
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
