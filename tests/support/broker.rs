//! Shared setup of these tests: a broker for each test, and rows.

use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autovalidate::broker::{
    Broker, Clock, Connection, Event, Events, JobId, JobSettings, Jobs, Remote, StreamSettings, Streams,
    SystemClock, embedded,
};
use autovalidate::correction::Row;
use autovalidate::corrections::{Corrections, LedgerFile};
use futures::StreamExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::support::DEADLINE;
use crate::support::{nats_server, within};

/// Real server on a free port, with its own folder.
pub struct TestBroker {
    pub folder: TempDir,
    pub connection: Connection,
    pub streams: Streams,
}

pub fn options(store: &Path) -> embedded::Options {
    embedded::Options {
        program: Some(nats_server()),
        tied_by: Some(env!("CARGO_BIN_EXE_autovalidate").into()),
        token: embedded::ClientToken::NotNeeded,
        ..embedded::Options::new(store)
    }
}

impl TestBroker {
    pub async fn new() -> Self {
        Self::with(StreamSettings::default()).await
    }

    pub async fn with(settings: StreamSettings) -> Self {
        Self::syncing(None, settings).await
    }

    /// Starts a server that flushes its store every second, as a worker's does. For thousands of rows.
    pub async fn quick() -> Self {
        Self::syncing(Some(Duration::from_secs(1)), StreamSettings::default()).await
    }

    async fn syncing(sync_every: Option<Duration>, settings: StreamSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::Embedded(embedded::Options { sync_every, ..options(folder.path()) });
        let connection = within(DEADLINE, Connection::open(&broker)).await.unwrap();
        let streams = within(DEADLINE, Streams::ensure(&connection, &settings)).await.unwrap();
        Self { folder, connection, streams }
    }

    pub fn url(&self) -> String {
        self.connection.server().unwrap().url()
    }

    /// Opens another connection to the same server, as a second worker would.
    pub async fn another_worker(&self) -> Streams {
        let remote = Remote { urls: vec![self.url()], ..Remote::default() };
        let connection = within(DEADLINE, Connection::open(&Broker::Remote(remote))).await.unwrap();
        within(DEADLINE, Streams::ensure(&connection, &StreamSettings::default())).await.unwrap()
    }

    /// Opens the pairs as a worker does that starts again on its disk, and has written its ledger each time.
    pub async fn corrections(&self) -> Corrections {
        let file = LedgerFile::new(self.folder.path().join("ledger")).written_after(1, Duration::ZERO);
        within(DEADLINE, Corrections::open_with(&self.streams, "pairs", file)).await.unwrap()
    }

    pub async fn jobs(&self, settings: JobSettings) -> Jobs {
        within(DEADLINE, Jobs::open(&self.streams, &self.events(), settings)).await.unwrap()
    }

    pub fn events(&self) -> Events {
        Events::new(&self.streams, Arc::new(SystemClock))
    }

    /// Returns the id of the request with this stream sequence.
    pub async fn requested(&self, sequence: u64) -> JobId {
        requested(&self.streams, sequence).await
    }

    /// Runs a command of the program beside a worker of this broker, and returns its output.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        let command = tokio::process::Command::new(env!("CARGO_BIN_EXE_autovalidate"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("NATS_URL", self.url())
            .env("SUPABASE_URL", "http://localhost")
            .env("SUPABASE_ANON_KEY", "key")
            .env("SUPABASE_TABLE", "pairs")
            .kill_on_drop(true)
            .output();
        within(DEADLINE, command).await.unwrap()
    }

    /// Subscribes to everything published on a subject from now on.
    pub async fn listen(&self, subject: &'static str) -> async_nats::Subscriber {
        let subscriber = self.connection.client().subscribe(subject).await.unwrap();
        self.connection.client().flush().await.unwrap();
        subscriber
    }
}

/// Returns the id of the request with this stream sequence.
pub async fn requested(streams: &Streams, sequence: u64) -> JobId {
    let stream = streams.connection().jetstream().get_stream(&**streams.names().training()).await.unwrap();
    let created_at = stream.cached_info().created.unix_timestamp_nanos();
    JobId::requested(Timestamp::from_nanosecond(created_at).unwrap(), sequence)
}

/// Waits for the next event of a subscription.
pub async fn next_event(subscriber: &mut async_nats::Subscriber) -> Event {
    let message = within(DEADLINE, subscriber.next()).await.unwrap();
    serde_json::from_slice(&message.payload).unwrap()
}

/// Returns a row that may be trained on.
pub fn row(id: i64) -> Row {
    Row {
        text_id: None,
        id,
        typo: format!("toyta {id}"),
        corrected: format!("Toyota {id}"),
        domain: if id % 2 == 0 { "brand" } else { "model" }.to_owned(),
        created_at: Some("2026-01-01T00:00:00Z".to_owned()),
    }
}

pub fn rows(ids: impl IntoIterator<Item = i64>) -> Vec<Row> {
    ids.into_iter().map(row).collect()
}

/// Clock that moves only when a test advances it.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<Mutex<watch::Sender<Timestamp>>>,
}

impl ManualClock {
    pub fn new(now: Timestamp) -> Self {
        Self { now: Arc::new(Mutex::new(watch::Sender::new(now))) }
    }

    pub fn advance(&self, by: Duration) {
        self.now.lock().unwrap().send_modify(|now| *now += by);
    }

    /// Returns the number of sleepers that now wait on this clock.
    pub fn sleepers(&self) -> usize {
        self.now.lock().unwrap().receiver_count()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap().borrow()
    }

    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let mut now = self.now.lock().unwrap().subscribe();
        Box::pin(async move {
            now.wait_for(|now| *now >= instant).await.unwrap();
        })
    }
}
