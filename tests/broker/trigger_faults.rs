//! Trigger faults: crashes, lost answers, concurrent workers, and a broker that dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use autovalidate::broker::{BrokerError, JobId, JobRequest, JobSettings, Jobs, RunRecord, Runs};
use autovalidate::trigger::{Decision, JobQueue, Reason};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::trigger::{TEN, look, next, spawn, trigger};
use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, rows};
use crate::support::within;

/// Queue that fails each publish, before or after its effect, like a crash at that point.
#[derive(Debug)]
struct Failing {
    jobs: Jobs,
    after_effect: bool,
    tried: AtomicBool,
}

impl JobQueue for Failing {
    fn enqueue<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<JobId, BrokerError>> {
        async move {
            if self.after_effect {
                self.jobs.enqueue(request).await?;
            }
            self.tried.store(true, Ordering::SeqCst);
            Err(BrokerError::TimedOut { what: "a fault of the test" })
        }
        .boxed()
    }

    fn outstanding(&self) -> BoxFuture<'_, Result<u64, BrokerError>> {
        self.jobs.outstanding().boxed()
    }
}

async fn crash_between_intent_and_clearing(after_effect: bool) {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let failing = Arc::new(Failing { jobs: jobs.clone(), after_effect, tried: AtomicBool::new(false) });
    let crashing = trigger(&bench, &corrections, failing.clone(), TEN);
    within(DEADLINE, corrections.append(&rows(1..=10))).await.unwrap();
    let error = within(DEADLINE, crashing.look()).await.unwrap_err();
    assert!(matches!(error, BrokerError::TimedOut { .. }), "{error:?}");
    assert!(failing.tried.load(Ordering::SeqCst));
    drop(crashing);
    assert_eq!(jobs.outstanding().await.unwrap(), u64::from(after_effect));

    // Three more pairs arrived while the trigger was down. They are not part of the decided job.
    within(DEADLINE, corrections.append(&rows(11..=13))).await.unwrap();
    let restarted = trigger(&bench, &corrections, Arc::new(jobs.clone()), TEN);
    assert_eq!(look(&restarted).await, Decision::Idle);
    assert_eq!(look(&restarted).await, Decision::Idle);
    assert_eq!(jobs.outstanding().await.unwrap(), 1);
    assert_eq!(next(&jobs).await.id(), &JobId::for_pairs(1, 10, 0));
    assert_eq!(restarted.pending().await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_job_is_published_loses_nothing() {
    Box::pin(crash_between_intent_and_clearing(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_the_job_is_published_repeats_nothing() {
    Box::pin(crash_between_intent_and_clearing(true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_whose_run_is_known_is_not_published_again() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let failing =
        Arc::new(Failing { jobs: jobs.clone(), after_effect: false, tried: AtomicBool::new(false) });
    within(DEADLINE, corrections.append(&rows(1..=10))).await.unwrap();
    within(DEADLINE, trigger(&bench, &corrections, failing, TEN).look()).await.unwrap_err();
    // The job was taken so long ago that the broker has forgotten its id, but its record exists.
    let record = RunRecord::new(JobId::for_pairs(1, 10, 0), JobRequest::default(), Timestamp::now());
    within(DEADLINE, Runs::new(&bench.streams).create(&record)).await.unwrap();
    let restarted = trigger(&bench, &corrections, Arc::new(jobs.clone()), TEN);
    assert_eq!(look(&restarted).await, Decision::Idle);
    assert_eq!(jobs.outstanding().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_broker_stops_neither_the_trigger_nor_the_worker() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let trigger = trigger(&bench, &corrections, Arc::new(jobs.clone()), TEN);
    let cancel = CancellationToken::new();
    let running = spawn(&trigger, &cancel);
    let waiting = tokio::spawn({
        let (jobs, cancel) = (jobs.clone(), cancel.clone());
        async move { jobs.next(&cancel).await }
    });
    within(DEADLINE, corrections.append(&rows(1..=9))).await.unwrap();
    let server = bench.connection.server().unwrap();
    let before = server.pid().unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(before.try_into().unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    within(DEADLINE, server.restarted(before)).await;
    within(DEADLINE, async { while corrections.append(&rows(10..=10)).await.is_err() {} }).await;
    let job = within(DEADLINE * 2, waiting).await.unwrap().unwrap();
    assert_eq!(job.id(), &JobId::for_pairs(1, 10, 0));
    within(DEADLINE, job.complete()).await.unwrap();
    cancel.cancel();
    within(DEADLINE, running).await.unwrap();
}

/// Queue that runs a future between a trigger's read and its write.
struct Meanwhile {
    jobs: Jobs,
    happens: tokio::sync::Mutex<Option<BoxFuture<'static, ()>>>,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Meanwhile").finish_non_exhaustive()
    }
}

impl JobQueue for Meanwhile {
    fn enqueue<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<JobId, BrokerError>> {
        self.jobs.enqueue(request).boxed()
    }

    fn outstanding(&self) -> BoxFuture<'_, Result<u64, BrokerError>> {
        async move {
            if let Some(happens) = self.happens.lock().await.take() {
                happens.await;
            }
            self.jobs.outstanding().await
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_another_worker_overtook_is_dropped() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let fast = trigger(&bench, &corrections, Arc::new(jobs.clone()), TEN);
    within(DEADLINE, corrections.append(&rows(1..=10))).await.unwrap();
    let overtaking = {
        let (corrections, jobs) = (corrections.clone(), jobs.clone());
        async move {
            corrections.append(&rows(11..=11)).await.unwrap();
            assert_eq!(fast.look().await.unwrap(), Decision::Fire(Reason::Threshold));
            let job = jobs.next(&CancellationToken::new()).await.unwrap();
            assert_eq!(job.id(), &JobId::for_pairs(1, 11, 0));
            job.complete().await.unwrap();
        }
        .boxed()
    };
    let queue = Meanwhile { jobs: jobs.clone(), happens: tokio::sync::Mutex::new(Some(overtaking)) };
    let slow = trigger(&bench, &corrections, Arc::new(queue), TEN);
    assert_eq!(look(&slow).await, Decision::Idle);
    assert_eq!(jobs.outstanding().await.unwrap(), 0, "the same pairs started a second job");
}
