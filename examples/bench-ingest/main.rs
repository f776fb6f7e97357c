//! Benchmark of the ingest, with a real worker process, a real nats-server and the local Supabase.
//!
//! Run it with `scripts/bench-ingest --json FILE`. docs/results/ingest.md has its results.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../../tests/support/change_load.rs"]
mod change_load;
#[path = "../../tests/support/fault_load.rs"]
mod fault_load;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use autovalidate_fakes::supabase::{IdType, Options};
use change_load::run_change_load;
use clap::{Parser, ValueEnum};
use fault_load::{FaultLoad, Setup, run_fault_load};
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Measures the ingest.
#[derive(Parser)]
struct Args {
    /// Path of the worker's program.
    #[arg(long)]
    program: PathBuf,
    /// Path of the nats-server program.
    #[arg(long)]
    nats: PathBuf,
    /// File for the results, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measures only this part; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Seconds of inserts at each rate.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Number of rows in the old table.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Number of inserts in the fault run.
    #[arg(long, default_value_t = 20_000)]
    inserts: usize,
    /// Number of times the fault run kills the worker.
    #[arg(long, default_value_t = 10)]
    kills: usize,
    /// Inserts per second in the fault run.
    #[arg(long, default_value_t = 100.0)]
    inserts_per_second: f64,
    /// Seed of the fault run.
    #[arg(long, default_value_t = 4)]
    seed: u64,
    /// Type of the table's ids, for the back-fills and the fault run with changes.
    #[arg(long, value_enum, default_value_t = Ids::Bigint)]
    ids: Ids,
}

/// Type of the table's ids.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ids {
    Bigint,
    Uuid,
    Text,
}

impl Ids {
    fn kind(self) -> IdType {
        match self {
            Self::Bigint => IdType::BigInt,
            Self::Uuid => IdType::Uuid,
            Self::Text => IdType::Text,
        }
    }
}

/// Part of the benchmark that can run alone.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Time from an insert until the pair is stored.
    Latency,
    /// Memory of a worker with an empty table.
    Idle,
    /// Back-fill of an old table, with the embedded server's default flush interval.
    Backfill,
    /// Back-fill of a fiftieth of the rows, with every message flushed.
    Flushed,
    /// Inserts during faults.
    Faults,
    /// Inserts, updates, deletions and a truncation during faults.
    Changes,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let wanted = |part: Part| args.only.is_empty() || args.only.contains(&part);
    let mut figures = json!({"latency": [], "seed": args.seed});
    println!("| what | figure | bar |\n|---|---|---|");
    for rate in [1, 50, 500].into_iter().filter(|_| wanted(Part::Latency)) {
        let latency = latency(&args, rate).await;
        println!(
            "| insert to stored, {rate}/s | p50 {} ms, p99 {} ms (poll {} ms) | p99 <= poll + 50 ms |",
            latency["p50_ms"], latency["p99_ms"], latency["poll_ms"]
        );
        figures["latency"].as_array_mut().unwrap().push(latency);
    }
    if wanted(Part::Idle) {
        let idle = idle(&args).await;
        println!(
            "| listener with an empty table | {} MB resident, {} MB its own, {} threads | 25 MB |",
            idle["resident_mb"], idle["own_mb"], idle["threads"]
        );
        figures["idle"] = idle;
    }
    let flushed = Duration::from_secs(1);
    for (part, name, sync, rows) in [
        (Part::Backfill, "flushed every second", Some(flushed), args.rows),
        (Part::Flushed, "every message flushed", None, args.rows / 50),
    ] {
        if !wanted(part) {
            continue;
        }
        let backfill = backfill(&args, sync, rows).await;
        println!(
            "| back-fill of {} rows, {name} | {} rows/s, {} MB at most ({} its own), {} MB afterwards | >= 20000 rows/s, 60 MB |",
            rows,
            backfill["rows_per_second"],
            backfill["most_mb"],
            backfill["most_own_mb"],
            backfill["after_mb"],
        );
        figures[name] = backfill;
    }
    if wanted(Part::Faults) {
        let storm = FaultLoad {
            seed: args.seed,
            inserts: args.inserts,
            kills: args.kills,
            inserts_per_second: args.inserts_per_second,
        };
        let after = run_fault_load(&storm, &args.program, &args.nats).await;
        println!(
            "| fault run, seed {}: {} rows, {} faults, {} kills | {} lost, {} surplus, all there {:.1} s after the last insert | 0 and 0 |",
            args.seed,
            after.rows,
            after.faults,
            args.kills,
            after.lost,
            after.surplus,
            after.recovery.as_secs_f64()
        );
        figures["fault_run"] = json!({
            "rows": after.rows, "lost": after.lost, "surplus": after.surplus, "faults": after.faults,
            "kills": args.kills, "seconds": after.took.as_secs_f64(), "calm_seconds": after.recovery.as_secs_f64(),
        });
    }
    if wanted(Part::Changes) {
        let storm = FaultLoad {
            seed: args.seed,
            inserts: args.inserts / 5,
            kills: args.kills,
            inserts_per_second: args.inserts_per_second,
        };
        let after = run_change_load(&storm, args.ids.kind(), &args.program, &args.nats).await;
        println!(
            "| fault run with changes, seed {}: {} inserts, {} updates, {} deletions, a truncation, {} faults, {} kills | {} lost, {} surplus, {} stale, {} undead, right {:.1} s after the last change | 0 of each |",
            args.seed,
            after.inserted,
            after.updated,
            after.deleted,
            after.faults,
            args.kills,
            after.lost,
            after.surplus,
            after.stale,
            after.undead,
            after.recovery.as_secs_f64()
        );
        if !after.differences.is_empty() {
            println!("differences: {}", after.differences.join(", "));
        }
        figures["change_run"] = json!({
            "inserted": after.inserted, "updated": after.updated, "deleted": after.deleted,
            "faults": after.faults, "kills": args.kills, "lost": after.lost, "surplus": after.surplus,
            "stale": after.stale, "undead": after.undead, "seconds": after.took.as_secs_f64(),
            "calm_seconds": after.recovery.as_secs_f64(),
        });
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures).unwrap()).unwrap();
    }
}

/// Measures the time from an insert's commit until a consumer of the stream has the row.
async fn latency(args: &Args, rate: u64) -> Value {
    let options = Options { poll: Duration::from_millis(100), ..Options::default() };
    let poll = options.poll;
    let ground = Setup::new(&args.program, &args.nats, options, Some(Duration::from_secs(1))).await;
    let streams = ground.streams().await;
    let stream = streams.connection().jetstream().get_stream("CORRECTIONS").await.unwrap();
    let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
    let mut messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
    let _worker = ground.listener(&[]);
    // The first row shows that the worker listens. After the wait, the settling sweep that follows
    // the subscription is over, too.
    ground.supabase.insert("first", "Toyota", "brand");
    messages.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;

    let count = rate * args.seconds;
    let begun = Arc::new(Mutex::new(HashMap::new()));
    let reading = {
        let begun = Arc::clone(&begun);
        tokio::spawn(async move {
            let mut took = Vec::new();
            while (took.len() as u64) < count {
                let message = messages.next().await.unwrap().unwrap();
                let now = Instant::now();
                let row: Value = serde_json::from_slice(&message.payload).unwrap();
                let at: Instant = begun.lock().unwrap()[&row["id"].as_i64().unwrap()];
                took.push(now - at);
            }
            took
        })
    };
    let mut timing = tokio::time::interval(Duration::from_secs_f64(1.0 / rate as f64));
    for number in 0..count {
        timing.tick().await;
        let mut begun = begun.lock().unwrap();
        let now = Instant::now();
        let id = ground.supabase.insert(&format!("toyta {number}"), "Toyota", "brand");
        begun.insert(id, now);
    }
    let mut took = tokio::time::timeout(Duration::from_secs(120), reading).await.unwrap().unwrap();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_millis() as u64;
    json!({"per_second": rate, "inserts": count, "poll_ms": poll.as_millis() as u64,
           "p50_ms": at(0.5), "p99_ms": at(0.99), "most_ms": at(1.0)})
}

/// Measures the memory of an idle worker.
async fn idle(args: &Args) -> Value {
    let ground =
        Setup::new(&args.program, &args.nats, fault_load::quick(), Some(Duration::from_secs(1))).await;
    let worker = ground.listener(&[]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let pid = worker.id().unwrap();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    json!({"resident_mb": memory(pid, "VmRSS"), "own_mb": memory(pid, "RssAnon"), "threads": threads})
}

/// Measures the back-fill of an old table that the worker has not seen before.
async fn backfill(args: &Args, sync_every: Option<Duration>, rows: u64) -> Value {
    let ground = Setup::new(
        &args.program,
        &args.nats,
        Options { id_type: args.ids.kind(), ..fault_load::quick() },
        sync_every,
    )
    .await;
    let pairs = (0..rows).map(|number| (format!("toyta {number}"), "Toyota".to_owned(), "brand".to_owned()));
    ground.supabase.import(pairs, Timestamp::now());
    let worker = ground.listener(&[]);
    let pid = worker.id().unwrap();
    let begun = Instant::now();
    let (mut most, mut most_own) = (0.0_f64, 0.0_f64);
    let mut glance = tokio::time::interval(Duration::from_millis(200));
    while ground.stored().await < rows {
        most = most.max(memory(pid, "VmRSS"));
        most_own = most_own.max(memory(pid, "RssAnon"));
        glance.tick().await;
    }
    let took = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = memory(pid, "VmRSS");
    json!({"rows": rows, "seconds": took.as_secs_f64(),
           "rows_per_second": (rows as f64 / took.as_secs_f64()) as u64,
           "most_mb": most, "most_own_mb": most_own, "after_mb": after})
}

/// Reads the memory of a process from Linux, in MB. `VmRSS` is all resident memory, including pages
/// of the program's file. `RssAnon` is the memory that the process itself allocated.
fn memory(pid: u32, kind: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    (kilobytes.unwrap_or(0.0) / 1024.0).round()
}
