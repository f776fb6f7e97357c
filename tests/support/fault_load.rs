#![allow(dead_code, unreachable_pub)]
//! Fault run of a real worker: a local Supabase injects every kind of fault, and the worker is
//! killed repeatedly. At the end, JetStream must hold every row of the table exactly once.
//!
//! The seed determines everything except the timing of the two programs. The tests use a small run,
//! and the benchmark a full one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull::OrderedConfig;
use autovalidate::broker::{Broker, Connection, Remote, StreamSettings, Streams, embedded};
use autovalidate_fakes::supabase::{Options, RestFault, SocketFault, Supabase, Webhook};
use futures::StreamExt;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Time limit for the worker to store everything after the faults end.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(180);

/// Broker and local Supabase, with the addresses that a worker needs.
pub struct Setup {
    pub folder: TempDir,
    pub connection: Connection,
    pub supabase: Supabase,
    program: PathBuf,
    url: String,
}

impl Setup {
    /// Starts both servers. `program` is the worker's program, `nats` the NATS server's;
    /// `sync_every` is the flush interval of that server.
    pub async fn new(program: &Path, nats: &Path, options: Options, sync_every: Option<Duration>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = embedded::Options {
            program: Some(nats.to_owned()),
            sync_every,
            token: embedded::ClientToken::NotNeeded,
            ..embedded::Options::new(folder.path().join("nats"))
        };
        let connection = Connection::open(&Broker::Embedded(server)).await.expect("a broker");
        let url = connection.server().expect("embedded").url();
        let supabase = Supabase::start(options).await.expect("the stand-in starts");
        Self { folder, connection, supabase, program: program.to_owned(), url }
    }

    /// Opens a second connection, as another program would.
    pub async fn streams(&self) -> Streams {
        let remote = Remote { urls: vec![self.url.clone()], ..Remote::default() };
        let connection = Connection::open(&Broker::Remote(remote)).await.expect("a connection");
        Streams::ensure(&connection, &StreamSettings::default()).await.expect("streams")
    }

    /// Opens a second connection to streams that a worker has set up, and changes nothing.
    pub async fn existing_streams(&self) -> Streams {
        let remote = Remote { urls: vec![self.url.clone()], ..Remote::default() };
        let connection = Connection::open(&Broker::Remote(remote)).await.expect("a connection");
        Streams::existing(&connection, &StreamSettings::default()).await.expect("streams")
    }

    /// Returns the address of the broker.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts a worker that listens and does not train. The worker is killed when dropped.
    pub fn listener(&self, settings: &[(&str, &str)]) -> Child {
        Command::new(&self.program)
            .args(["worker", "--role", "listener"])
            .current_dir(self.folder.path())
            .env("SUPABASE_URL", self.supabase.url().as_str())
            .env("SUPABASE_ANON_KEY", self.supabase.anon_key())
            .env("NATS_URL", &self.url)
            .env("DATA_DIR", self.folder.path().join("worker"))
            .env("HTTP_ADDR", "127.0.0.1:0")
            .env("TRAIN_THRESHOLD", "100000000")
            .env("TRAIN_MAX_WAIT", "off")
            .env("RUST_LOG", "error")
            .envs(settings.iter().copied())
            .kill_on_drop(true)
            .spawn()
            .expect("the worker starts")
    }

    /// Returns the number of messages in both streams of rows; 0 while no stream exists.
    pub async fn stored(&self) -> u64 {
        let mut stored = 0;
        for name in ["CORRECTIONS", "QUARANTINE"] {
            if let Ok(stream) = self.connection.jetstream().get_stream(name).await {
                stored += stream.cached_info().state.messages;
            }
        }
        stored
    }

    /// Waits until `count` messages are stored. The worker is a separate process, so this has to
    /// poll.
    pub async fn holds(&self, count: u64) {
        let mut glance = tokio::time::interval(Duration::from_millis(50));
        while self.stored().await < count {
            glance.tick().await;
        }
    }

    /// Returns every message id in both streams of rows, with its number of occurrences.
    pub async fn message_ids(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for name in ["CORRECTIONS", "QUARANTINE"] {
            let stream = self.connection.jetstream().get_stream(name).await.expect("a stream");
            let mut left = stream.cached_info().state.messages;
            if left == 0 {
                continue;
            }
            let config = OrderedConfig { headers_only: true, ..OrderedConfig::default() };
            let consumer = stream.create_consumer(config).await.expect("a consumer");
            let mut messages = consumer.messages().await.expect("messages");
            while left > 0 {
                let message = messages.next().await.expect("a message").expect("a message");
                let headers = message.headers.as_ref().expect("headers");
                let id = headers.get("Nats-Msg-Id").expect("a message id").as_str().to_owned();
                *ids.entry(id).or_default() += 1;
                left -= 1;
            }
        }
        ids
    }
}

/// Parameters of a fault run.
#[derive(Debug, Clone, Copy)]
pub struct FaultLoad {
    pub seed: u64,
    pub inserts: usize,
    /// Number of times the worker is killed.
    pub kills: usize,
    pub inserts_per_second: f64,
}

/// Result of a fault run.
#[derive(Debug)]
pub struct FaultReport {
    /// Rows in the table.
    pub rows: usize,
    /// Rows of the table that are not on JetStream.
    pub lost: usize,
    /// Surplus messages: second and later messages of a row, and messages of no row.
    pub surplus: usize,
    pub faults: usize,
    pub took: Duration,
    /// Time from the last insert until every row was stored.
    pub recovery: Duration,
}

/// Returns options of a local Supabase with shorter delays than the real one.
pub fn quick() -> Options {
    Options {
        poll: Duration::from_millis(20),
        subscribed_delay: Duration::from_millis(20),
        upgrade_error_delay: Duration::from_millis(100),
        join_error_delay: Duration::from_millis(100),
        ..Options::default()
    }
}

/// Performs the fault run.
pub async fn run_fault_load(load: &FaultLoad, program: &Path, nats: &Path) -> FaultReport {
    let setup = Setup::new(program, nats, quick(), None).await;
    let mut random = ChaCha8Rng::seed_from_u64(load.seed);
    let mut kills: Vec<usize> = (0..load.kills).map(|_| random.random_range(1..load.inserts)).collect();
    kills.sort_unstable();
    let every = (load.inserts / 80).max(1);
    let settings = [("SWEEP_EVERY", "2s")];
    let mut worker = setup.listener(&settings);
    let begun = Instant::now();
    let mut timing = tokio::time::interval(Duration::from_secs_f64(1.0 / load.inserts_per_second));
    let mut faults = 0;
    for number in 0..load.inserts {
        timing.tick().await;
        // One row in twenty is unfit for training: it must reach quarantine exactly once.
        let typo = if random.random_bool(0.05) { " " } else { "toyta" };
        setup.supabase.insert(
            &format!("{typo}{}", if typo == " " { String::new() } else { number.to_string() }),
            "Toyota",
            "brand",
        );
        if number % every == 0 {
            inject(&setup.supabase, &mut random);
            faults += 1;
        }
        while kills.first() == Some(&number) {
            kills.remove(0);
            worker.kill().await.expect("the worker lives");
            worker = setup.listener(&settings);
        }
    }
    let recovery = Instant::now();
    setup.supabase.faults().clear();
    let mut commits = setup.supabase.commits();
    let settled = async {
        commits.wait_for(|committed| *committed == load.inserts).await.expect("the stand-in lives");
        setup.holds(load.inserts as u64).await;
    };
    // A timeout needs no handling here: the counts below show a failure to settle.
    let _ = tokio::time::timeout(RECOVERY_DEADLINE, settled).await;
    let recovery = recovery.elapsed();
    drop(worker);

    let table: BTreeSet<String> =
        setup.supabase.ids().into_iter().map(|id| format!("typo_training_dataset:{id}")).collect();
    let stored = setup.message_ids().await;
    FaultReport {
        rows: table.len(),
        lost: table.iter().filter(|id| !stored.contains_key(*id)).count(),
        surplus: stored.iter().map(|(id, times)| if table.contains(id) { times - 1 } else { *times }).sum(),
        faults,
        took: begun.elapsed(),
        recovery,
    }
}

/// Injects a random fault.
pub fn inject(supabase: &Supabase, random: &mut ChaCha8Rng) {
    let faults = supabase.faults();
    match random.random_range(0..16) {
        0 | 1 => faults.strike(SocketFault::Kill),
        2 => faults.strike(SocketFault::TokenExpired),
        3 => faults.strike(SocketFault::ChannelCrash),
        4 => faults.strike(SocketFault::Resubscribed),
        5 => faults.strike(SocketFault::Close(1012)),
        6 => faults.silence_heartbeats(random.random_bool(0.5)),
        7 => faults.drop_events(random.random_range(1..20)),
        8 => faults.duplicate_events(random.random_bool(0.5)),
        9 => faults.break_events(random.random_bool(0.3)),
        10 => faults.delay_commits(Duration::from_millis(random.random_range(0..800))),
        11 => faults.refuse_upgrades(429, 1),
        12 => faults.fail_rest(
            RestFault::Status(*[401, 429, 503].get(random.random_range(0..3_usize)).expect("one of three")),
            1,
        ),
        13 => faults.fail_rest(RestFault::Html(502), 2),
        14 => faults.fail_rest(RestFault::Truncated, 2),
        _ => faults.fail_rest(RestFault::StatementTimeout, 1),
    }
}

/// Returns options of a local Supabase with a webhook that calls this address.
pub fn with_webhook(options: Options, url: url::Url, secret: &str) -> Options {
    let header = autovalidate::ingest::webhook::SECRET_HEADER.to_owned();
    Options { webhook: Some(Webhook { url, header, secret: secret.to_owned() }), ..options }
}
