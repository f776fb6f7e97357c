//! The queue's figures, for `scripts/bench-queue`: how soon an idle trainer has the job, how soon a manual request is
//! seen, and thousands of crashes. Ignored otherwise.

#![allow(clippy::print_stdout, reason = "a benchmark shows its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use autovalidate::queue::{JobId, JobRequest, JobSettings, SystemClock};
use autovalidate::trigger::{Policy, Trigger};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::crash_points::storm;
use super::setup::{Bench, SOON, rows};
use super::trigger::{next, spawn};
use crate::support::within;

/// How soon a trainer must have the job, in milliseconds, 99 times of 100.
const P99_LIMIT: f64 = 100.0;
/// Jobs that are timed.
const ROUNDS: usize = 300;
/// Pairs that start one.
const PAIRS: i64 = 20;
/// Crashes of one storm; each has a seed of its own.
const CRASHES_OF_A_STORM: u64 = 500;

fn figures(mut milliseconds: Vec<f64>) -> Value {
    milliseconds.sort_by(f64::total_cmp);
    let at = |share: f64| milliseconds[((milliseconds.len() - 1) as f64 * share).round() as usize];
    json!({ "rounds": milliseconds.len(), "p50": at(0.5), "p99": at(0.99), "max": at(1.0) })
}

fn since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// From pairs that are stored to the job in an idle trainer's hand.
async fn pairs_to_job() -> Value {
    let bench = Bench::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let policy =
        Policy { threshold: PAIRS.unsigned_abs(), max_wait: None, quiet: None, cooldown: Duration::ZERO };
    let queue = Arc::new(jobs.clone());
    let trigger = Trigger::new(&bench.streams, &corrections, queue, policy, Arc::new(SystemClock));
    let stop = CancellationToken::new();
    let running = spawn(&trigger, &stop);
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let first = i64::try_from(round).unwrap() * PAIRS + 1;
        let waiting = tokio::spawn({
            let jobs = jobs.clone();
            async move { (jobs.next(&CancellationToken::new()).await.unwrap(), Instant::now()) }
        });
        within(SOON, corrections.append(&rows(first..first + PAIRS))).await.unwrap();
        let stored = Instant::now();
        let (job, taken) = within(SOON, waiting).await.unwrap();
        times.push(taken.saturating_duration_since(stored).as_secs_f64() * 1e3);
        assert_eq!(job.id(), &JobId::for_pairs(first.unsigned_abs(), (first + PAIRS - 1).unsigned_abs()));
        within(SOON, job.complete()).await.unwrap();
    }
    stop.cancel();
    within(SOON, running).await.unwrap();
    figures(times)
}

/// From a plain `nats pub training.jobs '{}'` during a run to the event and record that say it is queued.
async fn manual_to_queued() -> Value {
    let bench = Bench::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    within(SOON, jobs.enqueue(&JobRequest::default())).await.unwrap();
    let _in_hand = next(&jobs).await;
    let mut queued = bench.listen("training.events.*.queued").await;
    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (jobs, stop) = (jobs.clone(), stop.clone());
        async move { jobs.keep_registered(&stop).await }
    });
    let mut times = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        bench.connection.client().publish("training.jobs", "{}".into()).await.unwrap();
        within(SOON, queued.next()).await.unwrap();
        times.push(since(start));
    }
    stop.cancel();
    within(SOON, watching).await.unwrap();
    figures(times)
}

/// Storms of crashes until there were enough.
async fn crashes(wanted: u64) -> Value {
    let (started, mut total) = (Instant::now(), (0, 0, 0, 0));
    let mut seed = 0;
    while total.0 < wanted {
        let bench = Bench::new().await;
        let storm = storm(&bench.streams, seed, CRASHES_OF_A_STORM.min(wanted - total.0)).await.unwrap();
        let (crashes, rounds, lost, doubled) = total;
        total = (crashes + storm.crashes, rounds + storm.rounds, lost + storm.lost, doubled + storm.doubled);
        seed += 1;
        bench.connection.close().await;
    }
    let (crashes, rounds, lost, doubled) = total;
    let seconds = started.elapsed().as_secs_f64();
    json!({ "crashes": crashes, "jobs": rounds, "lost": lost, "doubled": doubled, "seeds": seed, "seconds": seconds })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: scripts/bench-queue runs it"]
async fn figures_of_the_queue() {
    let wanted = std::env::var("BENCH_CRASHES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let pairs = pairs_to_job().await;
    let manual = manual_to_queued().await;
    let crashed = crashes(wanted).await;
    println!("| figure | rounds | p50 ms | p99 ms | max ms |");
    println!("|---|---|---|---|---|");
    for (name, figures) in
        [("pairs stored to job taken", &pairs), ("manual request to seen as queued", &manual)]
    {
        let number = |key: &str| figures[key].as_f64().unwrap_or_default();
        println!(
            "| {name} | {} | {:.1} | {:.1} | {:.1} |",
            figures["rounds"],
            number("p50"),
            number("p99"),
            number("max")
        );
    }
    println!(
        "\n{} crash points over {} jobs in {:.0} s: {} lost, {} doubled",
        crashed["crashes"],
        crashed["jobs"],
        crashed["seconds"].as_f64().unwrap_or_default(),
        crashed["lost"],
        crashed["doubled"]
    );
    let all = json!({ "pairs_to_job_ms": pairs, "manual_to_queued_ms": manual, "crash_points": crashed });
    if let Ok(path) = std::env::var("BENCH_JSON") {
        std::fs::write(path, serde_json::to_vec_pretty(&all).unwrap()).unwrap();
    }
    assert!(all["pairs_to_job_ms"]["p99"].as_f64().unwrap() <= P99_LIMIT, "{all}");
    assert_eq!(
        (all["crash_points"]["lost"].as_u64(), all["crash_points"]["doubled"].as_u64()),
        (Some(0), Some(0))
    );
}
