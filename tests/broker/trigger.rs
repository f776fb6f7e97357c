//! Exactly one job per N pairs, despite races and crashes.

use std::sync::Arc;
use std::time::Duration;

use autovalidate::broker::{Clock, Events, Job, JobId, JobRequest, JobSettings, Jobs, SystemClock};
use autovalidate::corrections::Corrections;
use autovalidate::trigger::{Decision, JobQueue, Reason, Trigger, TriggerPolicy};
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::broker::{ManualClock, TestBroker, rows};
use crate::support::within;

pub(super) const TEN: TriggerPolicy =
    TriggerPolicy { threshold: 10, max_wait: None, quiet: None, cooldown: Duration::ZERO };

pub(super) fn trigger(
    bench: &TestBroker,
    corrections: &Corrections,
    jobs: Arc<dyn JobQueue>,
    policy: TriggerPolicy,
) -> Trigger {
    Trigger::new(&bench.streams, corrections, jobs, policy, Arc::new(SystemClock))
}

pub(super) async fn look(trigger: &Trigger) -> Decision {
    within(DEADLINE, trigger.look()).await.unwrap()
}

pub(super) async fn next(jobs: &Jobs) -> Job {
    within(DEADLINE, jobs.next(&CancellationToken::new())).await.unwrap()
}

pub(super) fn spawn(trigger: &Trigger, cancel: &CancellationToken) -> JoinHandle<()> {
    let (trigger, cancel) = (trigger.clone(), cancel.clone());
    tokio::spawn(async move { trigger.run(&cancel).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn n_pairs_start_exactly_one_job() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let trigger = trigger(&bench, &corrections, Arc::new(jobs.clone()), TEN);
    let cancel = CancellationToken::new();
    let running = spawn(&trigger, &cancel);

    within(DEADLINE, corrections.append(&rows(1..=9))).await.unwrap();
    assert_eq!(look(&trigger).await, Decision::Idle);
    assert_eq!(jobs.outstanding().await.unwrap(), 0);
    within(DEADLINE, corrections.append(&rows(10..=10))).await.unwrap();
    let job = next(&jobs).await;
    assert_eq!(job.id(), &JobId::for_pairs(1, 10, 0));
    assert_eq!((job.request().first_sequence, job.request().last_sequence), (Some(1), Some(10)));

    // Pairs that arrive during a run count toward the next job, which waits until this run has
    // ended.
    within(DEADLINE, corrections.append(&rows(11..=25))).await.unwrap();
    assert_eq!(look(&trigger).await, Decision::Idle);
    assert_eq!(jobs.outstanding().await.unwrap(), 1);
    assert_eq!(trigger.pending().await.unwrap(), 15);
    within(DEADLINE, trigger.covered(10)).await.unwrap();
    within(DEADLINE, job.complete()).await.unwrap();
    let second = next(&jobs).await;
    assert_eq!(second.id(), &JobId::for_pairs(11, 25, 0));
    within(DEADLINE, second.complete()).await.unwrap();
    assert_eq!(look(&trigger).await, Decision::Idle);
    assert_eq!(jobs.outstanding().await.unwrap(), 0);
    cancel.cancel();
    within(DEADLINE, running).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_triggers_start_one_job_between_them() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let cancel = CancellationToken::new();
    let mut tasks = Vec::new();
    let mut triggers = Vec::new();
    for _ in 0..4 {
        let streams = bench.another_worker().await;
        let events = Events::new(&streams, Arc::new(SystemClock));
        let jobs = Jobs::open(&streams, &events, JobSettings::default()).await.unwrap();
        let pairs = Corrections::open(&streams, "pairs").await.unwrap();
        let trigger = Trigger::new(&streams, &pairs, Arc::new(jobs), TEN, Arc::new(SystemClock));
        tasks.push(spawn(&trigger, &cancel));
        triggers.push(trigger);
    }
    for round in 0..5_i64 {
        within(DEADLINE, corrections.append(&rows(round * 10 + 1..=round * 10 + 10))).await.unwrap();
        let looks = triggers.iter().map(|trigger| trigger.look());
        for looked in within(DEADLINE, futures::future::join_all(looks)).await {
            looked.unwrap();
        }
        let job = next(&jobs).await;
        let first = u64::try_from(round * 10 + 1).unwrap();
        assert_eq!(job.id(), &JobId::for_pairs(first, first + 9, 0));
        within(DEADLINE, job.complete()).await.unwrap();
    }
    for trigger in &triggers {
        assert_eq!(look(trigger).await, Decision::Idle);
    }
    assert_eq!(jobs.outstanding().await.unwrap(), 0);
    let stream = bench.connection.jetstream().get_stream("TRAINING").await.unwrap();
    assert_eq!(stream.cached_info().state.last_sequence, 5, "five jobs were ever stored");
    cancel.cancel();
    for task in tasks {
        within(DEADLINE, task).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_elapsed_starts_a_job_with_fewer_pairs() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let clock = ManualClock::new(Timestamp::now());
    let hour = Duration::from_secs(3600);
    let policy = TriggerPolicy { max_wait: Some(hour), ..TEN };
    let trigger =
        Trigger::new(&bench.streams, &corrections, Arc::new(jobs.clone()), policy, Arc::new(clock.clone()));
    let cancel = CancellationToken::new();
    within(DEADLINE, corrections.append(&rows(1..=2))).await.unwrap();
    let Decision::WaitUntil(instant) = look(&trigger).await else { panic!("too early or never") };
    assert!(instant > clock.now());
    let running = spawn(&trigger, &cancel);
    within(DEADLINE, async {
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(jobs.outstanding().await.unwrap(), 0);
    clock.advance(hour + hour);
    let job = next(&jobs).await;
    assert_eq!(job.id(), &JobId::for_pairs(1, 2, 0));
    cancel.cancel();
    within(DEADLINE, running).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cooldown_and_quiet_are_kept() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let clock = ManualClock::new(Timestamp::now());
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    let policy = TriggerPolicy { quiet: Some(minute), cooldown: hour, ..TEN };
    let trigger =
        Trigger::new(&bench.streams, &corrections, Arc::new(jobs.clone()), policy, Arc::new(clock.clone()));
    within(DEADLINE, trigger.ended()).await.unwrap();
    let ended_at = clock.now();
    within(DEADLINE, corrections.append(&rows(1..=2))).await.unwrap();
    clock.advance(minute * 3);
    assert_eq!(look(&trigger).await, Decision::WaitUntil(ended_at + hour));
    clock.advance(hour);
    assert_eq!(look(&trigger).await, Decision::Fire(Reason::Quiet));
    assert_eq!(jobs.outstanding().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pairs_of_a_failed_run_count_again_and_start_a_later_one() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    // The end of a run is never later than the broker's own clock.
    let clock = ManualClock::new(Timestamp::now() - Duration::from_hours(2));
    let trigger =
        Trigger::new(&bench.streams, &corrections, Arc::new(jobs.clone()), TEN, Arc::new(clock.clone()));
    within(DEADLINE, corrections.append(&rows(1..=10))).await.unwrap();
    assert_eq!(look(&trigger).await, Decision::Fire(Reason::Threshold));
    let first = next(&jobs).await;
    assert_eq!(first.id(), &JobId::for_pairs(1, 10, 0));
    // A crash between the two reports the failure twice.
    for _ in 0..2 {
        within(DEADLINE, trigger.failed(first.id(), first.request())).await.unwrap();
    }
    within(DEADLINE, first.complete()).await.unwrap();
    assert_eq!(trigger.pending().await.unwrap(), 10);
    let quarter = Duration::from_mins(15);
    assert_eq!(look(&trigger).await, Decision::WaitUntil(clock.now() + quarter));

    clock.advance(quarter);
    assert_eq!(look(&trigger).await, Decision::Fire(Reason::Threshold));
    let second = next(&jobs).await;
    assert_eq!(second.id(), &JobId::for_pairs(1, 10, 1));
    within(DEADLINE, corrections.append(&rows(11..=12))).await.unwrap();
    within(DEADLINE, trigger.failed(second.id(), second.request())).await.unwrap();
    within(DEADLINE, second.complete()).await.unwrap();
    assert_eq!(look(&trigger).await, Decision::WaitUntil(clock.now() + quarter * 2));

    clock.advance(quarter * 2);
    assert_eq!(look(&trigger).await, Decision::Fire(Reason::Threshold));
    let third = next(&jobs).await;
    assert_eq!(third.id(), &JobId::for_pairs(1, 12, 2));
    within(DEADLINE, trigger.covered(12)).await.unwrap();
    within(DEADLINE, third.complete()).await.unwrap();
    within(DEADLINE, corrections.append(&rows(13..=22))).await.unwrap();
    assert_eq!(look(&trigger).await, Decision::Fire(Reason::Threshold), "the pauses are over");
    assert_eq!(next(&jobs).await.id(), &JobId::for_pairs(13, 22, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_whose_clock_is_hours_ahead_holds_no_job_back() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let cooldown = Duration::from_secs(1);
    let policy = TriggerPolicy { cooldown, ..TEN };
    let clock = bench.streams.clock().clone();
    // An earlier version follows its own clock.
    let ahead = Arc::new(ManualClock::new(clock.now() + Duration::from_secs(7 * 3600)));
    let queue = || Arc::new(jobs.clone());
    let trainer = Trigger::new(&bench.streams, &corrections, queue(), policy.clone(), ahead);
    within(DEADLINE, trainer.ended()).await.unwrap();
    within(DEADLINE, corrections.append(&rows(1..=10))).await.unwrap();

    let listener = Trigger::new(&bench.streams, &corrections, queue(), policy, Arc::new(clock.clone()));
    let due = within(DEADLINE, listener.next_due()).await.unwrap().unwrap();
    assert!(due.at <= clock.now() + cooldown, "due at {}", due.at);
    let cancel = CancellationToken::new();
    let running = spawn(&listener, &cancel);
    assert_eq!(next(&jobs).await.id(), &JobId::for_pairs(1, 10, 0));
    cancel.cancel();
    within(DEADLINE, running).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_clock_is_read_from_the_server() {
    let bench = TestBroker::new().await;
    let clock = bench.streams.clock();
    within(DEADLINE, clock.refresh()).await.unwrap();
    let difference = clock.now().duration_since(Timestamp::now()).abs();
    assert!(difference.as_secs() < 60, "{difference}: the server runs on this machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_request_counts_nothing_until_its_run_has_covered_pairs() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let trigger = trigger(&bench, &corrections, Arc::new(jobs.clone()), TEN);
    within(DEADLINE, corrections.append(&rows(1..=7))).await.unwrap();
    within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    assert_eq!(trigger.pending().await.unwrap(), 7);
    let manual = next(&jobs).await;
    within(DEADLINE, corrections.append(&rows(8..=9))).await.unwrap();
    within(DEADLINE, trigger.covered(7)).await.unwrap();
    within(DEADLINE, trigger.covered(3)).await.unwrap();
    within(DEADLINE, manual.complete()).await.unwrap();
    assert_eq!(trigger.pending().await.unwrap(), 2);
    within(DEADLINE, corrections.append(&rows(10..=17))).await.unwrap();
    assert_eq!(look(&trigger).await, Decision::Fire(Reason::Threshold));
    assert_eq!(next(&jobs).await.id(), &JobId::for_pairs(8, 17, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_pairs_that_is_made_anew_starts_runs_again() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let trigger = trigger(&bench, &corrections, Arc::new(jobs.clone()), TEN);
    within(DEADLINE, corrections.append(&rows(1..=10))).await.unwrap();
    look(&trigger).await;
    let first = next(&jobs).await;
    assert_eq!(first.id(), &JobId::for_pairs(1, 10, 0));
    within(DEADLINE, first.complete()).await.unwrap();

    bench.connection.jetstream().delete_stream("CORRECTIONS").await.unwrap();
    bench.another_worker().await;
    look(&trigger).await;
    within(DEADLINE, corrections.append(&rows(1..=10))).await.unwrap();
    assert!(matches!(look(&trigger).await, Decision::Fire(_)));
    // The id of the first run would find its record, and train nothing.
    let again = next(&jobs).await;
    assert!(
        again.id().as_str().ends_with("-1-10") && again.id() != &JobId::for_pairs(1, 10, 0),
        "{}",
        again.id()
    );
    assert_eq!((again.request().first_sequence, again.request().last_sequence), (Some(1), Some(10)));
}
