//! One start of a worker for one request, with the folder that outlives the worker.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use autovalidate::ingest::webhook::SECRET_HEADER;
use autovalidate_fakes::supabase::{Options, Supabase};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Pause before a refused connection is tried again, as a proxy in front of a starting machine does.
pub(crate) const RETRY: Duration = Duration::from_millis(10);
/// Pause between two looks at the stream.
const LOOK: Duration = Duration::from_millis(2);
/// Time limit of anything that a start waits for.
const DEADLINE: Duration = Duration::from_secs(120);
const SECRET: &str = "a-webhook-secret";
/// Table of the pairs.
const TABLE: &str = "typo_training_dataset";

/// Times of one start, from the moment in which the process is started and the request is sent.
pub(crate) struct Start {
    /// Until the worker's port accepts a connection.
    pub(crate) ready: Duration,
    /// Until the request has its response, 202.
    pub(crate) response: Duration,
    /// Until the request's pair is on the stream.
    pub(crate) stored: Duration,
}

/// Local Supabase, and the folder of a worker that sleeps and wakes.
pub(crate) struct Sleeper {
    supabase: Supabase,
    folder: TempDir,
    program: PathBuf,
    nats: PathBuf,
    http_port: u16,
    nats_port: u16,
    client: reqwest::Client,
}

impl Sleeper {
    /// Prepares a store with this many pairs, by the ingest of a worker.
    pub(crate) async fn with_pairs(program: &Path, nats: &Path, pairs: u64) -> Self {
        let supabase = Supabase::start(Options::default()).await.unwrap();
        let rows =
            (0..pairs).map(|number| (format!("toyta {number}"), "Toyota".to_owned(), "brand".to_owned()));
        supabase.import(rows, Timestamp::now());
        // No connection is kept, since the worker behind it is another one each time.
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        let sleeper = Self {
            supabase,
            folder: tempfile::tempdir().unwrap(),
            program: program.to_owned(),
            nats: nats.to_owned(),
            http_port: free_port(),
            nats_port: free_port(),
            client,
        };
        let worker = sleeper.start();
        sleeper.stream_holds(pairs).await;
        // The cursor follows the pairs.
        tokio::time::sleep(Duration::from_secs(2)).await;
        worker.stop().await;
        sleeper
    }

    /// Returns the folder of the worker's files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the port of nats-server.
    pub(crate) fn nats_port(&self) -> u16 {
        self.nats_port
    }

    /// Returns the process id of the running nats-server.
    pub(crate) fn nats_id(&self) -> u32 {
        let file = self.folder().join("data/nats/nats-server.pid");
        std::fs::read_to_string(file).unwrap().trim().parse().unwrap()
    }

    /// Inserts a row, starts a worker, and sends it the webhook of that row at the same moment.
    pub(crate) async fn wake(&self) -> (Start, Worker) {
        let id = self.supabase.insert("toyta", "Toyota", "brand");
        let pairs = self.supabase.ids().len() as u64;
        let begun = Instant::now();
        let worker = self.start();
        let (ready, response) = tokio::time::timeout(DEADLINE, self.call(id, begun)).await.unwrap();
        self.stream_holds(pairs).await;
        (Start { ready, response, stored: begun.elapsed() }, worker)
    }

    /// Inserts rows and waits until they are stored.
    pub(crate) async fn insert(&self, rows: u64) {
        for number in 0..rows {
            self.supabase.insert(&format!("toyyta {number}"), "Toyota", "brand");
        }
        self.stream_holds(self.supabase.ids().len() as u64).await;
    }

    /// Checks that the stream of the running worker holds each row of the table once.
    pub(crate) async fn check_stored_once(&self) {
        let mut stream = self.stream().await.unwrap();
        let (stored, rows) = (stream.info().await.unwrap().state.messages, self.supabase.ids().len());
        assert_eq!(stored, rows as u64, "each row must be stored once");
    }

    fn start(&self) -> Worker {
        let child = Command::new(&self.program)
            .args(["worker", "--role", "listener", "--exit-when-idle", "10m"])
            .current_dir(self.folder())
            .env_clear()
            .env("SUPABASE_URL", self.supabase.url().as_str())
            .env("SUPABASE_ANON_KEY", self.supabase.anon_key())
            .env("WEBHOOK_SECRET", SECRET)
            .env("DATA_DIR", self.folder().join("data"))
            .env("NATS_URL", "embedded")
            .env("NATS_SERVER", &self.nats)
            .env("NATS_LISTEN", format!("127.0.0.1:{}", self.nats_port))
            .env("HTTP_ADDR", format!("127.0.0.1:{}", self.http_port))
            .env("TRAIN_THRESHOLD", "100000000")
            .env("TRAIN_MAX_WAIT", "off")
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Worker { child }
    }

    /// Sends the webhook until it is accepted. Returns the times until the port accepted a
    /// connection and until the response.
    async fn call(&self, id: i64, begun: Instant) -> (Duration, Duration) {
        let url = format!("http://127.0.0.1:{}/hooks/supabase", self.http_port);
        let body = json!({"type": "INSERT", "schema": "public", "table": TABLE, "record": {"id": id}});
        loop {
            match tokio::net::TcpStream::connect(("127.0.0.1", self.http_port)).await {
                Ok(_) => break,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
        let ready = begun.elapsed();
        let request = self.client.post(&url).header(SECRET_HEADER, SECRET).json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        (ready, begun.elapsed())
    }

    /// Waits until the stream holds this many messages.
    async fn stream_holds(&self, pairs: u64) {
        let held = async {
            loop {
                if let Some(mut stream) = self.stream().await {
                    while let Ok(info) = stream.info().await {
                        if info.state.messages >= pairs {
                            return;
                        }
                        tokio::time::sleep(LOOK).await;
                    }
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::time::timeout(DEADLINE, held).await.expect("the pairs are stored");
    }

    /// Returns the stream of the running nats-server; `None` while there is none.
    async fn stream(&self) -> Option<jetstream::stream::Stream> {
        let client = async_nats::connect(format!("127.0.0.1:{}", self.nats_port)).await.ok()?;
        jetstream::new(client).get_stream("CORRECTIONS").await.ok()
    }
}

/// A running worker, killed when dropped.
pub(crate) struct Worker {
    child: Child,
}

impl Worker {
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Asks the worker to exit, as an idle one does by itself, and waits for it.
    pub(crate) async fn stop(mut self) {
        kill(Pid::from_raw(i32::try_from(self.id()).unwrap()), Signal::SIGTERM).unwrap();
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "the worker ended with {status}");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
