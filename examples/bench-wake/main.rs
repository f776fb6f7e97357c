//! Benchmark of a wake: a worker that starts because of a request, with its embedded nats-server.
//!
//! Run it with `scripts/bench-wake --json FILE`. docs/results/wake.md has its results.
//!
//! ```text
//! main.rs         arguments, and the order of the measurements
//! cold_start.rs   one start of a worker for one request
//! floor.rs        start of nats-server alone, the part of a start that is not ours
//! memory.rs       memory of a worker and its nats-server
//! page_cache.rs   removal of files from the page cache
//! figures.rs      percentiles, bars, table and JSON
//! ```

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod cold_start;
mod figures;
mod floor;
mod memory;
mod page_cache;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use cold_start::Sleeper;
use figures::{Bar, Figures, Percentiles, Series};
use memory::{Idle, Memory};

/// Measures the start of a worker by a request, and its memory.
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
    /// Commit that is measured, for the results.
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Number of starts for each size of the store.
    #[arg(long, default_value_t = 100)]
    starts: usize,
    /// Numbers of pairs that the store holds.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1_000, 10_000, 100_000])]
    pairs: Vec<u64>,
    /// Seconds without a request before memory is read.
    #[arg(long, default_value_t = 20)]
    idle_seconds: u64,
}

/// Number of pairs that are inserted between the two readings of memory.
const MORE_PAIRS: u64 = 1_000;

/// Largest store that the bars hold for. The figures of larger stores are printed without a bar: at
/// its start the worker reads the header of each pair, and nats-server keeps part of what it read.
const MOST_PAIRS: u64 = 10_000;
/// Longest time to the response, at the 99th percentile, in milliseconds.
const RESPONSE_BAR: f64 = 1_500.0;
/// Longest time until the worker is ready, at the 99th percentile, in milliseconds.
const READY_BAR: f64 = 1_000.0;
/// Most memory of the worker and nats-server together, in MB.
const MEMORY_BAR: f64 = 64.0;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut figures = Figures::new(args.commit.clone());
    println!("| what | p50 | p90 | p99 | maximum |\n|---|---|---|---|---|");
    let mut memory = Vec::new();
    for pairs in &args.pairs {
        let sleeper = Sleeper::with_pairs(&args.program, &args.nats, *pairs).await;
        for cached in [true, false] {
            let series = starts(&args, &sleeper, *pairs, cached).await;
            series.print();
            figures.series.push(series);
        }
        memory.extend(idle(&args, &sleeper, *pairs).await);
    }
    println!("\n| memory | worker | nats-server | together |\n|---|---|---|---|");
    memory.iter().for_each(Idle::print);
    figures.memory = memory;

    figures.bars = bars(&figures.series, &figures.memory);
    println!("\n| bar | limit | measured | met |\n|---|---|---|---|");
    figures.bars.iter().for_each(Bar::print);
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures.to_json()).unwrap()).unwrap();
    }
    match figures.bars.iter().all(Bar::is_met) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Starts nats-server alone and a worker in turns, on a store of about this many pairs. Unless
/// `cached`, both programs and the store are read from the disk again at each start.
async fn starts(args: &Args, sleeper: &Sleeper, pairs: u64, cached: bool) -> Series {
    let evict = || {
        if !cached {
            page_cache::evict(&[&args.program, &args.nats, sleeper.folder()]);
        }
    };
    let (mut ready, mut response, mut stored, mut alone) = (vec![], vec![], vec![], vec![]);
    for _ in 0..args.starts {
        evict();
        alone.push(floor::start(&args.nats, sleeper).await);
        evict();
        let (start, worker) = sleeper.wake().await;
        worker.stop().await;
        ready.push(start.ready);
        response.push(start.response);
        stored.push(start.stored);
    }
    Series {
        pairs,
        cached,
        ready: Percentiles::of(ready),
        response: Percentiles::of(response),
        stored: Percentiles::of(stored),
        nats_server_alone: Percentiles::of(alone),
    }
}

/// Reads the memory of a worker that idles after its wake, and again after more pairs. At the end,
/// each row must have been stored once.
async fn idle(args: &Args, sleeper: &Sleeper, pairs: u64) -> [Idle; 2] {
    let (_, worker) = sleeper.wake().await;
    let pause = Duration::from_secs(args.idle_seconds);
    let read = |after| Idle {
        pairs,
        after,
        worker: Memory::of(worker.id()),
        nats_server: Memory::of(sleeper.nats_id()),
    };
    tokio::time::sleep(pause).await;
    let woken = read("the wake");
    sleeper.insert(MORE_PAIRS).await;
    tokio::time::sleep(pause).await;
    let fed = read("1,000 more pairs");
    sleeper.check_stored_once().await;
    worker.stop().await;
    [woken, fed]
}

fn bars(series: &[Series], memory: &[Idle]) -> Vec<Bar> {
    let mut bars = Vec::new();
    for series in series.iter().filter(|series| series.pairs <= MOST_PAIRS) {
        let name = series.name();
        let bar = |what: &str, limit, times: &Percentiles| {
            Bar::new(format!("{name}: {what}, p99"), limit, times.at(0.99), "ms")
        };
        bars.push(bar("start to ready", READY_BAR, &series.ready));
        bars.push(bar("request to 202", RESPONSE_BAR, &series.response));
    }
    let memory = memory.iter().filter(|idle| idle.pairs <= MOST_PAIRS);
    bars.extend(memory.map(|idle| Bar::new(idle.name(), MEMORY_BAR, idle.together(), "MB")));
    bars
}
