//! Benchmark of the console, `/metrics` and `status`: a worker with many pairs and many past runs, while a
//! training runs.
//!
//! Run it with `scripts/bench-console --json FILE`. docs/results/console.md has its results.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../../tests/support/fault_load.rs"]
mod fault_load;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use autovalidate::broker::{JobId, RunRecord, RunState, Runs};
use autovalidate_fakes::hub::{self, Hub};
use clap::Parser;
use fault_load::Setup;
use futures::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// Pages that are asked, and `/metrics`.
const PAGES: [&str; 6] = ["/", "/runs", "/models", "/pairs", "/try", "/metrics"];
/// Longest wait for something that the worker does.
const PATIENCE: Duration = Duration::from_secs(600);

/// Measures the console.
#[derive(Parser)]
struct Args {
    /// Path of the worker's program.
    #[arg(long)]
    program: PathBuf,
    /// Path of the nats-server program.
    #[arg(long)]
    nats: PathBuf,
    /// ONNX Runtime library.
    #[arg(long)]
    runtime: PathBuf,
    /// Model that is trained.
    #[arg(long)]
    model: PathBuf,
    /// File for the results, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Number of pairs.
    #[arg(long, default_value_t = 100_000)]
    pairs: u64,
    /// Number of past runs.
    #[arg(long, default_value_t = 200)]
    runs: u64,
    /// Number of times that each page is asked.
    #[arg(long, default_value_t = 200)]
    requests: usize,
}

/// The servers, and a worker that uses them.
struct Bench<'a> {
    args: &'a Args,
    setup: Setup,
    hub: Hub,
    /// Address of the worker's HTTP server.
    address: String,
    http: reqwest::Client,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let setup =
        Setup::new(&args.program, &args.nats, fault_load::quick(), Some(Duration::from_secs(1))).await;
    let hub = Hub::start(hub::Options::new(setup.folder.path().join("hub"))).await.unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bench =
        Bench { args: &args, setup, hub, address: format!("127.0.0.1:{port}"), http: reqwest::Client::new() };
    let figures = bench.measure().await;
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures).unwrap()).unwrap();
    }
}

impl Bench<'_> {
    async fn measure(&self) -> Value {
        let real = self.real_run().await;
        self.past_runs(&real).await;
        let pairs = (0..self.args.pairs).map(|number| {
            (format!("toyta {number}"), format!("Toyota {}", number % 250), "brand".to_owned())
        });
        self.setup.supabase.import(pairs, Timestamp::now());

        // A listener that nobody has asked anything, and then one that was asked for every page.
        let listener = self.worker("listener", &[]);
        self.setup.holds(self.args.pairs).await;
        self.stop(listener).await;
        let begun = Instant::now();
        let listener = self.worker("listener", &[]);
        self.answers("/readyz").await;
        let ready = begun.elapsed();
        println!("| what | figure | bar |\n|---|---|---|");
        println!("| start until ready | {} ms | 5000 ms |", ready.as_millis());
        tokio::time::sleep(Duration::from_secs(20)).await;
        let idle = own_memory(&listener);
        for page in PAGES {
            self.ask(page, 20).await;
        }
        let after = own_memory(&listener);
        println!(
            "| memory that pages add to an idle listener | {} kB of {idle} kB | 3072 kB |",
            after - idle
        );
        self.stop(listener).await;

        // One training that outlasts the questions.
        let long = [("TRAIN_BUDGET", "1000")];
        let worker = self.worker("all", &long);
        self.answers("/readyz").await;
        self.command(&["enqueue", "--force"]).await;
        self.is_training().await;
        let mut pages = Vec::new();
        let run = format!("/runs/{}", JobId::manual(self.args.runs / 2).as_str());
        for page in PAGES.into_iter().chain([run.as_str()]) {
            let took = self.ask(page, self.args.requests).await;
            let name = if page == run { "/runs/<id>" } else { page };
            println!("| `{name}`, first byte | p50 {:.1} ms, p99 {:.1} ms | p99 < 50 ms |", took.0, took.1);
            pages.push(json!({ "page": name, "p50_ms": took.0, "p99_ms": took.1, "most_ms": took.2 }));
        }
        let mut commands = Vec::new();
        for command in [&["status"][..], &["runs", "list"]] {
            let mut took = Vec::new();
            for _ in 0..20 {
                let begun = Instant::now();
                self.command(command).await;
                took.push(begun.elapsed());
            }
            let (p50, _, most) = spread(took);
            let name = command.join(" ");
            println!("| `{name}`, the whole program | p50 {p50:.0} ms, at most {most:.0} ms | 100 ms |");
            commands.push(json!({ "command": name, "p50_ms": p50, "most_ms": most }));
        }
        assert!(self.is_training_now().await, "the training has ended meanwhile");
        drop(worker);
        json!({
            "pairs": self.args.pairs, "runs": self.args.runs, "requests": self.args.requests,
            "ready_ms": ready.as_millis() as u64, "pages_add_kb": after - idle, "idle_kb": idle,
            "pages": pages, "commands": commands,
        })
    }

    /// Makes one run on a few pairs, and returns its record.
    async fn real_run(&self) -> RunRecord {
        let rows = (0..400).map(|number| {
            let names = ["Toyota", "Honda", "Hyundai", "Renault", "Citroen"];
            let name = names[number % names.len()];
            (format!("{}{number}", &name[..4]), name.to_owned(), "brand".to_owned())
        });
        self.setup.supabase.import(rows, Timestamp::now());
        let worker = self.worker("all", &[("TRAIN_EPOCHS", "1"), ("TRAIN_BUDGET", "10")]);
        self.answers("/readyz").await;
        self.setup.holds(400).await;
        self.command(&["enqueue", "--force"]).await;
        let runs = Runs::new(&self.setup.existing_streams().await);
        let begun = Instant::now();
        let record = loop {
            if let Some(record) = runs.last_ended().await.unwrap() {
                break record;
            }
            assert!(begun.elapsed() < PATIENCE, "the run does not end");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert!(record.state != RunState::Failed, "{:?}", record.error);
        self.stop(worker).await;
        record
    }

    /// Stores as many past runs like a real one as wanted, an hour apart.
    async fn past_runs(&self, real: &RunRecord) {
        let runs = Runs::new(&self.setup.existing_streams().await);
        let now = Timestamp::now();
        for number in 0..self.args.runs {
            let age = SignedDuration::from_hours((self.args.runs - number).cast_signed());
            let at = now - age;
            let record = RunRecord {
                id: JobId::manual(number),
                created_at: at,
                ended_at: Some(at + SignedDuration::from_mins(2)),
                ..real.clone()
            };
            runs.create(&record).await.unwrap();
        }
    }

    /// Starts a worker. It is killed when dropped.
    fn worker(&self, role: &str, more: &[(&str, &str)]) -> Child {
        self.program(&["worker", "--role", role]).envs(more.iter().copied()).spawn().expect("it starts")
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let Self { args, setup, hub, address, .. } = self;
        let mut command = Command::new(&args.program);
        command.args(arguments).current_dir(setup.folder.path()).kill_on_drop(true);
        command.stdout(std::process::Stdio::null());
        command.envs([
            ("SUPABASE_URL", setup.supabase.url().to_string()),
            ("SUPABASE_ANON_KEY", setup.supabase.anon_key().to_owned()),
            ("HF_ENDPOINT", hub.url().to_string()),
            ("HF_TOKEN", hub.token().expose_secret().to_owned()),
            ("HF_REPO", "local/bench".to_owned()),
            ("BASE_MODEL", absolute(&args.model)),
            ("ORT_DYLIB_PATH", absolute(&args.runtime)),
            ("NATS_URL", setup.url().to_owned()),
            ("DATA_DIR", setup.folder.path().join("worker").display().to_string()),
            ("HTTP_ADDR", address.clone()),
            ("TRAIN_THRESHOLD", "100000000".to_owned()),
            ("TRAIN_MAX_WAIT", "off".to_owned()),
            ("TRAIN_COOLDOWN", "off".to_owned()),
            ("TRAIN_THREADS", "1".to_owned()),
            ("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned())),
        ]);
        command
    }

    async fn command(&self, arguments: &[&str]) {
        let ended = self.program(arguments).status().await.unwrap();
        assert!(ended.success(), "{arguments:?} ended with {ended}");
    }

    async fn stop(&self, mut worker: Child) {
        let pid = nix::unistd::Pid::from_raw(worker.id().unwrap().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        tokio::time::timeout(PATIENCE, worker.wait()).await.expect("it stops").unwrap();
    }

    /// Waits until a page answers with success.
    async fn answers(&self, page: &str) {
        let begun = Instant::now();
        loop {
            if self.get(page).await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{page} does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn get(&self, page: &str) -> reqwest::Result<reqwest::Response> {
        self.http.get(format!("http://{}{page}", self.address)).send().await
    }

    async fn is_training_now(&self) -> bool {
        let text = self.get("/metrics").await.unwrap().text().await.unwrap();
        let step = text.lines().find_map(|line| line.strip_prefix("autovalidate_training_step "));
        step.and_then(|step| step.parse::<f64>().ok()).is_some_and(|step| step > 0.0)
    }

    async fn is_training(&self) {
        let begun = Instant::now();
        while !self.is_training_now().await {
            assert!(begun.elapsed() < PATIENCE, "no training begins");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks for a page several times, and returns the median, the 99th percentile and the longest time to
    /// the first byte in milliseconds.
    async fn ask(&self, page: &str, times: usize) -> (f64, f64, f64) {
        let asked = stream::iter(0..times).then(|_| async {
            let begun = Instant::now();
            let answer = self.get(page).await.unwrap();
            let took = begun.elapsed();
            assert!(answer.status().is_success(), "{page}: {}", answer.status());
            answer.bytes().await.unwrap();
            took
        });
        spread(asked.collect().await)
    }
}

fn spread(mut took: Vec<Duration>) -> (f64, f64, f64) {
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    (at(0.5), at(0.99), at(1.0))
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap().display().to_string()
}

/// Returns the memory that a process itself has allocated, in kB.
fn own_memory(process: &Child) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}
