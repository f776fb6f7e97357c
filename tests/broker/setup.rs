//! What these tests share: a broker of their own, and rows.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autovalidate::broker::{
    Broker, Clock, Connection, Event, Events, JobSettings, Jobs, Remote, StreamSettings, Streams,
    SystemClock, embedded,
};
use autovalidate::correction::Row;
use autovalidate::corrections::Corrections;
use futures::StreamExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::support::{nats_server, within};

/// Generous: the machine that runs all tests at once is slow.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A real server on a free port, with its own folder.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) connection: Connection,
    pub(crate) streams: Streams,
}

pub(crate) fn options(store: &Path) -> embedded::Options {
    embedded::Options { program: Some(nats_server()), ..embedded::Options::new(store) }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(StreamSettings::default()).await
    }

    pub(crate) async fn with(settings: StreamSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::Embedded(options(folder.path()));
        let connection = within(SOON, Connection::open(&broker)).await.unwrap();
        let streams = within(SOON, Streams::ensure(&connection, &settings)).await.unwrap();
        Self { folder, connection, streams }
    }

    pub(crate) fn url(&self) -> String {
        self.connection.server().unwrap().url()
    }

    /// A second worker: another connection to the same server.
    pub(crate) async fn another_worker(&self) -> Streams {
        let remote = Remote { urls: vec![self.url()], ..Remote::default() };
        let connection = within(SOON, Connection::open(&Broker::Remote(remote))).await.unwrap();
        within(SOON, Streams::ensure(&connection, &StreamSettings::default())).await.unwrap()
    }

    pub(crate) async fn corrections(&self) -> Corrections {
        within(SOON, Corrections::open(&self.streams, "pairs")).await.unwrap()
    }

    pub(crate) async fn jobs(&self, settings: JobSettings) -> Jobs {
        within(SOON, Jobs::open(&self.streams, &self.events(), settings)).await.unwrap()
    }

    pub(crate) fn events(&self) -> Events {
        Events::new(&self.streams, Arc::new(SystemClock))
    }

    /// Everything published on a subject from now on.
    pub(crate) async fn listen(&self, subject: &'static str) -> async_nats::Subscriber {
        let subscriber = self.connection.client().subscribe(subject).await.unwrap();
        self.connection.client().flush().await.unwrap();
        subscriber
    }
}

/// The next event of a subscription.
pub(crate) async fn next_event(subscriber: &mut async_nats::Subscriber) -> Event {
    let message = within(SOON, subscriber.next()).await.unwrap();
    serde_json::from_slice(&message.payload).unwrap()
}

/// A row that may be trained on.
pub(crate) fn row(id: i64) -> Row {
    Row {
        id,
        typo: format!("toyta {id}"),
        corrected: format!("Toyota {id}"),
        domain: if id % 2 == 0 { "brand" } else { "model" }.to_owned(),
        created_at: Some("2026-01-01T00:00:00Z".to_owned()),
    }
}

pub(crate) fn rows(ids: impl IntoIterator<Item = i64>) -> Vec<Row> {
    ids.into_iter().map(row).collect()
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Clone)]
pub(super) struct ManualClock {
    now: Arc<Mutex<watch::Sender<Timestamp>>>,
}

impl ManualClock {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now: Arc::new(Mutex::new(watch::Sender::new(now))) }
    }

    pub(super) fn advance(&self, by: Duration) {
        self.now.lock().unwrap().send_modify(|now| *now += by);
    }

    /// How many sleepers wait on this clock now.
    pub(super) fn sleepers(&self) -> usize {
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
