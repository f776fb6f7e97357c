//! Benchmark of the queue, for `scripts/bench-queue`: the time until an idle trainer has a job, the
//! time until a manual request is registered and answered, and thousands of crashes of trigger and
//! trainer. Ignored in ordinary test runs.

#![allow(clippy::print_stdout, reason = "a benchmark shows its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use autovalidate::broker::{JobId, JobRequest, JobSettings, SystemClock};
use autovalidate::trigger::{Trigger, TriggerPolicy};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::crash_points::crash_series;
use super::trigger::{next, spawn};
use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, rows};
use crate::support::run::RunHarness;
use crate::support::within;

/// Limit of the 99th percentile of the time until a trainer has the job, in milliseconds.
const P99_LIMIT: f64 = 100.0;
/// Number of timed jobs.
const ROUNDS: usize = 300;
/// Number of pairs that start a job.
const PAIRS: i64 = 20;
/// Number of crashes in one series; each series has its own seed.
const CRASHES_OF_A_STORM: u64 = 500;

fn figures(mut milliseconds: Vec<f64>) -> Value {
    milliseconds.sort_by(f64::total_cmp);
    let at = |share: f64| milliseconds[((milliseconds.len() - 1) as f64 * share).round() as usize];
    json!({ "rounds": milliseconds.len(), "p50": at(0.5), "p99": at(0.99), "max": at(1.0) })
}

fn since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Measures the time from stored pairs until an idle trainer has taken the job.
async fn pairs_to_job() -> Value {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let policy = TriggerPolicy {
        threshold: PAIRS.unsigned_abs(),
        max_wait: None,
        quiet: None,
        cooldown: Duration::ZERO,
    };
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
        within(DEADLINE, corrections.append(&rows(first..first + PAIRS))).await.unwrap();
        let stored = Instant::now();
        let (job, taken) = within(DEADLINE, waiting).await.unwrap();
        times.push(taken.saturating_duration_since(stored).as_secs_f64() * 1e3);
        assert_eq!(job.id(), &JobId::for_pairs(first.unsigned_abs(), (first + PAIRS - 1).unsigned_abs(), 0));
        within(DEADLINE, job.complete()).await.unwrap();
    }
    stop.cancel();
    within(DEADLINE, running).await.unwrap();
    figures(times)
}

/// Measures the time from a plain `nats pub training.jobs '{}'` during a run until its event says
/// that it is queued.
async fn manual_to_queued() -> Value {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
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
        within(DEADLINE, queued.next()).await.unwrap();
        times.push(since(start));
    }
    stop.cancel();
    within(DEADLINE, watching).await.unwrap();
    figures(times)
}

/// Measures the time from `nats req training.jobs '{}'` during a run until the answer confirms its
/// storage.
async fn manual_to_answered() -> Value {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    let _in_hand = next(&jobs).await;
    let mut times = Vec::new();
    for stored in 2..102 {
        let start = Instant::now();
        let answer = bench.connection.client().request("training.jobs", "{}".into());
        let answer: Value = serde_json::from_slice(&within(DEADLINE, answer).await.unwrap().payload).unwrap();
        times.push(since(start));
        assert_eq!(answer["seq"], stored, "{answer}");
    }
    figures(times)
}

/// Runs series of trigger crashes until `wanted` crashes have happened.
async fn trigger_crashes(wanted: u64, first_seed: u64) -> Value {
    let (started, mut total) = (Instant::now(), (0, 0, 0, 0));
    let mut seed = first_seed;
    while total.0 < wanted {
        let bench = TestBroker::new().await;
        let series =
            crash_series(&bench.streams, seed, CRASHES_OF_A_STORM.min(wanted - total.0)).await.unwrap();
        let (crashes, rounds, lost, doubled) = total;
        total =
            (crashes + series.crashes, rounds + series.rounds, lost + series.lost, doubled + series.doubled);
        seed += 1;
        bench.connection.close().await;
    }
    let (crashes, rounds, lost, doubled) = total;
    let seconds = started.elapsed().as_secs_f64();
    json!({ "crashes": crashes, "jobs": rounds, "lost": lost, "doubled": doubled, "seeds": seed - first_seed, "seconds": seconds })
}

/// Runs a series of trainer crashes, from taking a job to settling it.
async fn trainer_crashes(wanted: u64, first_point: u64) -> Value {
    let started = Instant::now();
    let harness = RunHarness::quick_to_redeliver().await;
    let series = crate::run::crash_points::crash_series(&harness, first_point, wanted).await;
    let seconds = started.elapsed().as_secs_f64();
    json!({
        "crashes": series.crashes, "jobs": series.runs, "lost": series.lost, "doubled": series.doubled,
        "awaits": series.points, "seconds": seconds,
    })
}

/// Reads a number that `scripts/bench-queue` sets in the environment.
fn asked_for(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: scripts/bench-queue runs it"]
async fn figures_of_the_queue() {
    let (trigger, trainer) =
        (asked_for("BENCH_TRIGGER_CRASHES", 8_000), asked_for("BENCH_TRAINER_CRASHES", 2_000));
    let first = asked_for("BENCH_FIRST", 0);
    let times = [
        ("pairs stored to job taken by an idle trainer", "pairs_to_job_ms", pairs_to_job().await),
        ("manual request during a run to seen as queued", "manual_to_queued_ms", manual_to_queued().await),
        ("manual request during a run to its answer", "manual_to_answered_ms", manual_to_answered().await),
    ];
    println!("| figure | rounds | p50 ms | p99 ms | max ms |");
    println!("|---|---|---|---|---|");
    for (name, _, figures) in &times {
        let number = |key: &str| figures[key].as_f64().unwrap_or_default();
        let (p50, p99, max) = (number("p50"), number("p99"), number("max"));
        println!("| {name} | {} | {p50:.1} | {p99:.1} | {max:.1} |", figures["rounds"]);
    }
    let crashes = [
        ("trigger", trigger_crashes(trigger, first).await),
        ("trainer", trainer_crashes(trainer, first).await),
    ];
    println!("\n| crashed at any await | crashes | jobs | lost | doubled | seconds |");
    println!("|---|---|---|---|---|---|");
    for (name, figures) in &crashes {
        let seconds = figures["seconds"].as_f64().unwrap_or_default();
        let [crashes, jobs, lost, doubled] =
            ["crashes", "jobs", "lost", "doubled"].map(|key| figures[key].clone());
        println!("| {name} | {crashes} | {jobs} | {lost} | {doubled} | {seconds:.0} |");
    }
    let mut all = serde_json::Map::new();
    all.extend(times.into_iter().map(|(_, key, figures)| (key.to_owned(), figures)));
    all.insert(
        "crash_points".to_owned(),
        crashes.into_iter().map(|(name, figures)| (name.to_owned(), figures)).collect(),
    );
    let all = Value::Object(all);
    if let Ok(path) = std::env::var("BENCH_JSON") {
        std::fs::write(path, serde_json::to_vec_pretty(&all).unwrap()).unwrap();
    }
    assert!(all["pairs_to_job_ms"]["p99"].as_f64().unwrap() <= P99_LIMIT, "{all}");
    for part in ["trigger", "trainer"] {
        let figures = &all["crash_points"][part];
        assert_eq!((&figures["lost"], &figures["doubled"]), (&json!(0), &json!(0)), "{all}");
    }
}
