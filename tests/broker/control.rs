//! Waiting runs are registered, cancelled and retried, whoever requested them.

use std::time::Duration;

use autovalidate::broker::{BrokerError, JobId, JobRequest, JobSettings, Jobs, RunState, Runs};
use futures::{FutureExt, StreamExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::trigger::next;
use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, next_event};
use crate::support::within;

/// Starts the tasks of a worker that watch the queue.
fn watch(jobs: &Jobs) -> (CancellationToken, JoinHandle<()>) {
    let (jobs, stop) = (jobs.clone(), CancellationToken::new());
    let cancel = stop.clone();
    let task = tokio::spawn(async move {
        tokio::join!(jobs.keep_registered(&cancel), jobs.keep_cancelling(&cancel));
    });
    (stop, task)
}

async fn state(runs: &Runs, id: &JobId) -> RunState {
    within(DEADLINE, runs.load(id)).await.unwrap().unwrap().0.state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_request_during_a_run_is_seen_at_once() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let runs = Runs::new(&bench.streams);
    within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    let _in_hand = next(&jobs).await;
    let mut queued = bench.listen("training.events.*.queued").await;
    let (stop, task) = watch(&jobs);
    // This is `nats req training.jobs '{}'`; the answer confirms that the request is stored.
    let answer =
        within(DEADLINE, bench.connection.client().request("training.jobs", "{}".into())).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!((answer["stream"].as_str(), answer["seq"].as_u64()), (Some("TRAINING"), Some(2)));
    let event = next_event(&mut queued).await;
    assert_eq!(event.job, bench.requested(2).await);
    assert_eq!(state(&runs, &bench.requested(2).await).await, RunState::Queued);
    stop.cancel();
    within(DEADLINE, task).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_before_its_start_leaves_the_queue_and_nobody_has_to_take_it() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let runs = Runs::new(&bench.streams);
    for _ in 0..3 {
        within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    }
    let in_hand = next(&jobs).await;
    let mut settled = bench.listen("training.events.*.settled").await;
    let second = bench.requested(2).await;
    assert_eq!(within(DEADLINE, jobs.cancel(&second)).await.unwrap(), RunState::Queued);
    assert_eq!(next_event(&mut settled).await.job, second);
    assert_eq!(jobs.outstanding().await.unwrap(), 2, "the job in hand, and the third");
    // A retry puts it back, and is cancelled as well.
    within(DEADLINE, jobs.retry(&second)).await.unwrap();
    assert_eq!((jobs.outstanding().await.unwrap(), state(&runs, &second).await), (3, RunState::Queued));
    within(DEADLINE, jobs.cancel(&second)).await.unwrap();
    assert_eq!(jobs.outstanding().await.unwrap(), 2);
    within(DEADLINE, in_hand.complete()).await.unwrap();
    let third = next(&jobs).await;
    assert_eq!(third.id(), &bench.requested(3).await);
    within(DEADLINE, third.complete()).await.unwrap();
    assert_eq!(jobs.outstanding().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_not_read_again_for_each_request() {
    const WAITING: u64 = 50;
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let mut queued = bench.listen("training.events.*.queued").await;
    let (stop, task) = watch(&jobs);
    let client = bench.connection.client();
    for sequence in 1..=WAITING {
        client.publish("training.jobs", "{}".into()).await.unwrap();
        assert_eq!(next_event(&mut queued).await.job, bench.requested(sequence).await);
    }
    // The first worker stops, so that every read that is seen from here on is the second one's.
    stop.cancel();
    within(DEADLINE, task).await.unwrap();
    // A worker that starts later reads the whole queue once.
    let mut reads = bench.listen("$JS.API.DIRECT.GET.TRAINING").await;
    let (stop, task) = watch(&jobs);
    let mut seen = 0;
    while seen <= WAITING {
        within(DEADLINE, reads.next()).await.unwrap();
        seen += 1;
    }
    client.publish("training.jobs", "{}".into()).await.unwrap();
    next_event(&mut queued).await;
    // The worker reads the new request and the empty end of the queue, plus a few empty reads.
    let mut more = 0;
    while reads.next().now_or_never().is_some() {
        more += 1;
    }
    assert!(more < WAITING / 2, "{more} reads for one request");
    stop.cancel();
    within(DEADLINE, task).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_while_no_worker_ran_is_registered_by_the_next_and_garbage_is_left_alone() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    for body in ["{}", "train!", r#"{"reason":"twice"}"#] {
        bench.connection.jetstream().publish("training.jobs", body.into()).await.unwrap().await.unwrap();
    }
    within(DEADLINE, jobs.register_waiting()).await.unwrap();
    within(DEADLINE, jobs.register_waiting()).await.unwrap();
    let listed = within(DEADLINE, Runs::new(&bench.streams).list()).await.unwrap();
    let mut ids: Vec<_> = listed.iter().map(|run| (run.id.clone(), run.state)).collect();
    ids.sort_by_key(|(id, _)| id.clone());
    assert_eq!(
        ids,
        [(bench.requested(1).await, RunState::Queued), (bench.requested(3).await, RunState::Queued)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_is_cancelled_by_a_plain_publish_even_while_no_worker_ran() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let client = bench.connection.client();
    client.publish("training.jobs", "".into()).await.unwrap();
    client.publish("training.cancel", "manual-99".into()).await.unwrap();
    client.publish("training.cancel", "not a run!".into()).await.unwrap();
    client.publish("training.cancel", format!("{}\n", bench.requested(1).await).into()).await.unwrap();
    client.flush().await.unwrap();
    let mut ended = bench.listen("training.events.*.ended").await;
    let (stop, task) = watch(&jobs);
    let event = next_event(&mut ended).await;
    assert_eq!((event.job, event.detail["state"].as_str()), (bench.requested(1).await, Some("cancelled")));
    let runs = Runs::new(&bench.streams);
    assert_eq!(state(&runs, &bench.requested(1).await).await, RunState::Cancelled);
    let again = within(DEADLINE, jobs.cancel(&bench.requested(1).await)).await.unwrap_err();
    assert!(matches!(again, BrokerError::RunEnded { state: RunState::Cancelled, .. }), "{again:?}");
    stop.cancel();
    within(DEADLINE, task).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_run_is_told_to_stop_and_a_retry_is_not() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let runs = Runs::new(&bench.streams);
    let id = within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    let (mut record, revision) = runs.load(&id).await.unwrap().unwrap();
    record.state = RunState::Running;
    let revision = runs.save(&record, revision).await.unwrap();
    assert!(!runs.is_cancel_requested(&id, 0).await.unwrap());
    assert_eq!(within(DEADLINE, jobs.cancel(&id)).await.unwrap(), RunState::Running);
    assert!(runs.is_cancel_requested(&id, 0).await.unwrap());
    assert!(!runs.is_cancel_requested(&id, 1).await.unwrap());
    // The cancel request and the worker's own save do not conflict.
    runs.save(&record, revision).await.unwrap();
    let unknown = within(DEADLINE, jobs.cancel(&bench.requested(99).await)).await.unwrap_err();
    assert!(matches!(unknown, BrokerError::UnknownRun { .. }), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_puts_an_ended_run_back_once() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let runs = Runs::new(&bench.streams);
    let request = JobRequest { epochs: Some(2), ..JobRequest::default() };
    let id = within(DEADLINE, jobs.enqueue(&request)).await.unwrap();
    let early = within(DEADLINE, jobs.retry(&id)).await.unwrap_err();
    assert!(matches!(early, BrokerError::RunNotEnded { state: RunState::Queued, .. }), "{early:?}");
    let first = next(&jobs).await;
    assert_eq!(first.retry(), 0);
    let (mut record, revision) = runs.load(&id).await.unwrap().unwrap();
    (record.state, record.failures) = (RunState::Failed, 5);
    runs.save(&record, revision).await.unwrap();
    within(DEADLINE, first.complete()).await.unwrap();

    within(DEADLINE, jobs.retry(&id)).await.unwrap();
    let (record, revision) = runs.load(&id).await.unwrap().unwrap();
    assert_eq!((record.state, record.retries, record.failures), (RunState::Queued, 1, 0));
    // A retry crashed after it sent the message and before it wrote the record. Its repetition
    // sends no second message, and updates the record.
    let mut crashed = record.clone();
    (crashed.state, crashed.retries) = (RunState::Failed, 0);
    runs.save(&crashed, revision).await.unwrap();
    within(DEADLINE, jobs.retry(&id)).await.unwrap();
    assert_eq!(jobs.outstanding().await.unwrap(), 1);
    let (record, revision) = runs.load(&id).await.unwrap().unwrap();
    let mut crashed = record;
    (crashed.state, crashed.retries) = (RunState::Failed, 0);
    runs.save(&crashed, revision).await.unwrap();
    let second = next(&jobs).await;
    assert_eq!((second.id(), second.retry(), second.request().epochs), (&id, 1, Some(2)));
    assert_eq!(state(&runs, &id).await, RunState::Queued, "taking the retry corrects the record");
    within(Duration::from_secs(30), second.complete()).await.unwrap();
}
