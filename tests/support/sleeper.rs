//! A worker that exits when it is idle, with a local Supabase and a folder that outlives it.

use std::collections::HashMap;
use std::time::Duration;

use autovalidate::broker::{Broker, Connection, StreamSettings, Streams};
use autovalidate::corrections::Corrections;
use autovalidate::ingest::webhook::SECRET_HEADER;
use autovalidate::settings::{Needs, Settings};
use autovalidate::worker::{Role, Worker, WorkerError, WorkerOptions};
use autovalidate_fakes::supabase::{Options, Supabase};
use tokio_util::sync::CancellationToken;

use super::broker::options;
use super::worker::WEBHOOK_SECRET;
use super::{DEADLINE, nats_server, within};

/// Idle time of these workers. The command line asks for more.
pub const IDLE: Duration = Duration::from_secs(1);

/// Local Supabase, and the folder and settings of the workers that sleep and wake.
pub struct Sleeper {
    pub supabase: Supabase,
    pub folder: tempfile::TempDir,
    environment: HashMap<&'static str, String>,
}

impl Sleeper {
    /// Prepares workers whose only ways to see a row are a hook and the sweep at their start.
    pub async fn new(more: &[(&'static str, &str)]) -> Self {
        let supabase = Supabase::start(Options::default()).await.unwrap();
        supabase.faults().drop_events(u64::MAX);
        let folder = tempfile::tempdir().unwrap();
        let mut environment = HashMap::from([
            ("SUPABASE_URL", supabase.url().to_string()),
            ("SUPABASE_ANON_KEY", supabase.anon_key().to_owned()),
            ("DATA_DIR", folder.path().display().to_string()),
            ("NATS_SERVER", nats_server().display().to_string()),
            ("NATS_LISTEN", "127.0.0.1:0".to_owned()),
            ("HTTP_ADDR", "127.0.0.1:0".to_owned()),
            ("SWEEP_EVERY", "1h".to_owned()),
            ("WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ]);
        environment.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Self { supabase, folder, environment }
    }

    pub fn environment(&self) -> &HashMap<&'static str, String> {
        &self.environment
    }

    /// Returns the program with these arguments and these workers' settings.
    pub fn program(&self, arguments: &[&str]) -> std::process::Command {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_autovalidate"));
        program.args(arguments).current_dir(self.folder.path()).env_clear().envs(&self.environment);
        program
    }

    pub fn settings(&self) -> Settings {
        let needs = Needs { supabase: true, ..Needs::default() };
        Settings::read(&|name| self.environment.get(name).cloned(), None, needs).unwrap()
    }

    /// Starts a listener that exits after [`IDLE`].
    #[track_caller]
    pub fn wake(&self) -> impl Future<Output = Worker> {
        self.wake_for(IDLE)
    }

    #[track_caller]
    pub fn wake_for(&self, idle: Duration) -> impl Future<Output = Worker> {
        let options = WorkerOptions {
            role: Role::Listener,
            exit_when_idle: Some(idle),
            program: Some(env!("CARGO_BIN_EXE_autovalidate").into()),
            ..WorkerOptions::default()
        };
        let settings = self.settings();
        within(DEADLINE, async move {
            Box::pin(Worker::start(&settings, options, CancellationToken::new())).await.unwrap()
        })
    }

    /// Inserts rows that no Realtime session shows.
    pub fn insert(&self, count: usize) -> Vec<i64> {
        (0..count).map(|n| self.supabase.insert(&format!("toyta {n}"), "Toyota", "brand")).collect()
    }

    /// Opens the embedded broker's store, while no worker runs, and counts the pairs in it.
    pub async fn stored(&self) -> u64 {
        let broker = Broker::Embedded(options(&self.folder.path().join("nats")));
        let connection = within(DEADLINE, Connection::open(&broker)).await.unwrap();
        let streams = Streams::ensure(&connection, &StreamSettings::default()).await.unwrap();
        let corrections = Corrections::open(&streams, "typo_training_dataset").await.unwrap();
        let count = corrections.count_after(0).await.unwrap();
        connection.close().await;
        count
    }
}

/// Waits until the worker has exited by itself.
#[track_caller]
pub fn exited(worker: Worker) -> impl Future<Output = Result<(), WorkerError>> {
    within(DEADLINE, worker.join())
}

/// Calls a hook of a worker, and returns the status of the answer and its text.
pub async fn call(worker: std::net::SocketAddr, hook: &str, secret: &str) -> (u16, String) {
    let url = format!("http://{worker}/hooks/{hook}");
    let request = reqwest::Client::new().post(url).header(SECRET_HEADER, secret).body("{}");
    let answer = within(DEADLINE, request.send()).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Watches the checks of a worker: each one asks the broker for the length of the queue.
pub struct Checks(async_nats::Subscriber);

impl Checks {
    pub async fn watch(client: &async_nats::Client) -> Self {
        let checks = client.subscribe("$JS.API.STREAM.INFO.TRAINING").await.unwrap();
        client.flush().await.unwrap();
        Self(checks)
    }

    /// Waits until so many checks were made that the idle time has passed several times.
    #[track_caller]
    pub fn many(&mut self) -> impl Future<Output = ()> {
        within(DEADLINE, async {
            for _ in 0..8 {
                futures::StreamExt::next(&mut self.0).await.unwrap();
            }
        })
    }
}
