//! Benchmark of a wake: a worker that starts because of a request, with its embedded nats-server.
//!
//! Run it with `scripts/bench-wake --json FILE`. docs/results/wake.md has its results.
//!
//! ```text
//! main.rs         arguments, and the order of the measurements
//! cold_start.rs   one start of a worker for one request
//! floor.rs        start of nats-server alone, the part of a start that is not ours
//! memory.rs       memory of a worker and its nats-server
//! figures.rs      percentiles, bars, table and JSON
//! ```

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod cold_start;
mod figures;
mod floor;
mod memory;

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
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1_000, 100_000])]
    pairs: Vec<u64>,
    /// Seconds without a request before memory is read.
    #[arg(long, default_value_t = 20)]
    idle_seconds: u64,
}

/// Number of pairs in the store when memory is measured, and of those that are then inserted.
const MEMORY_PAIRS: u64 = 1_000;

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
    for pairs in &args.pairs {
        let series = starts(&args, *pairs).await;
        series.print();
        figures.series.push(series);
    }
    println!("\n| memory | worker | nats-server | together |\n|---|---|---|---|");
    figures.memory = memory(&args).await;
    figures.memory.iter().for_each(Idle::print);

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

/// Starts a worker and nats-server alone in turns, on a store with this many pairs.
async fn starts(args: &Args, pairs: u64) -> Series {
    let sleeper = Sleeper::with_pairs(&args.program, &args.nats, pairs).await;
    let (mut ready, mut response, mut stored, mut alone) = (vec![], vec![], vec![], vec![]);
    for _ in 0..args.starts {
        alone.push(floor::start(&args.nats, &sleeper).await);
        let (start, worker) = sleeper.wake().await;
        worker.stop().await;
        ready.push(start.ready);
        response.push(start.response);
        stored.push(start.stored);
    }
    sleeper.check_stored_once(pairs + args.starts as u64).await;
    Series {
        pairs,
        starts: args.starts,
        ready: Percentiles::of(ready),
        response: Percentiles::of(response),
        stored: Percentiles::of(stored),
        nats_server_alone: Percentiles::of(alone),
    }
}

/// Measures the memory of a worker that idles after its wake, and again after more pairs.
async fn memory(args: &Args) -> Vec<Idle> {
    let sleeper = Sleeper::with_pairs(&args.program, &args.nats, MEMORY_PAIRS).await;
    let (_, worker) = sleeper.wake().await;
    let pause = Duration::from_secs(args.idle_seconds);
    let (worker_id, nats_id) = (worker.id(), sleeper.nats_id());
    let mut idle = Vec::new();
    for (when, more) in [("idle after the wake", 0), ("idle after 1,000 more pairs", MEMORY_PAIRS)] {
        sleeper.insert(more).await;
        tokio::time::sleep(pause).await;
        idle.push(Idle { when, worker: Memory::of(worker_id), nats_server: Memory::of(nats_id) });
    }
    worker.stop().await;
    idle
}

fn bars(series: &[Series], memory: &[Idle]) -> Vec<Bar> {
    let mut bars = Vec::new();
    for series in series {
        let (ready, response) = (series.ready.at(0.99), series.response.at(0.99));
        bars.push(Bar::new(
            format!("{} pairs: request to 202, p99", series.pairs),
            RESPONSE_BAR,
            response,
            "ms",
        ));
        bars.push(Bar::new(format!("{} pairs: start to ready, p99", series.pairs), READY_BAR, ready, "ms"));
    }
    for idle in memory {
        bars.push(Bar::new(format!("memory, {}", idle.when), MEMORY_BAR, idle.together(), "MB"));
    }
    bars
}
