//! Job requests: any client adds them, one worker takes each, and none is lost or repeated.

use std::sync::Arc;
use std::time::Duration;

use autovalidate::broker::{
    Broker, Connection, Events, JobId, JobRequest, JobSettings, Jobs, StreamSettings, Streams, SystemClock,
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, next_event, options};
use crate::support::within;

const SHORT_WAIT: JobSettings =
    JobSettings { ack_wait: Duration::from_secs(1), ack_wait_is_set: true, runs_at_once: 1 };

async fn next(jobs: &Jobs) -> autovalidate::broker::Job {
    within(DEADLINE, jobs.next(&CancellationToken::new())).await.unwrap()
}

/// True when a job arrives within `wait`. After a timeout, the dropped future takes no job.
async fn comes_within(jobs: &Jobs, wait: Duration) -> bool {
    tokio::time::timeout(wait, jobs.next(&CancellationToken::new())).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_comes_out_as_it_went_in_and_completes_once() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let request = JobRequest { epochs: Some(2), reason: Some("by hand".into()), ..JobRequest::default() };
    let id = within(DEADLINE, jobs.enqueue(&request)).await.unwrap();
    let job = next(&jobs).await;
    assert_eq!((job.id(), job.request(), job.deliveries()), (&id, &request, 1));
    assert_eq!(jobs.outstanding().await.unwrap(), 1);
    within(DEADLINE, job.complete()).await.unwrap();
    assert_eq!(jobs.outstanding().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_an_id_is_kept_once() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let request = JobRequest { job_id: Some(JobId::for_pairs(1, 5, 0)), ..JobRequest::default() };
    for _ in 0..3 {
        assert_eq!(within(DEADLINE, jobs.enqueue(&request)).await.unwrap(), JobId::for_pairs(1, 5, 0));
    }
    assert_eq!(jobs.outstanding().await.unwrap(), 1);
    within(DEADLINE, next(&jobs).await.complete()).await.unwrap();
    within(DEADLINE, jobs.enqueue(&request)).await.unwrap();
    assert_eq!(jobs.outstanding().await.unwrap(), 0, "not even after it was done");
}

/// Every triggered job has an id of its own, so nobody asks for the stream that would give one.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_request_without_an_id_asks_for_the_age_of_its_stream() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let mut asked = bench.listen("$JS.API.STREAM.INFO.TRAINING").await;
    let mut count = async || {
        bench.connection.client().publish("$JS.API.STREAM.INFO.TRAINING", "end".into()).await.unwrap();
        let mut count = 0;
        while within(DEADLINE, asked.next()).await.unwrap().payload != "end" {
            count += 1;
        }
        count
    };
    let own = JobRequest { job_id: Some("mine".parse().unwrap()), ..JobRequest::default() };
    for (request, expected) in [(own, 0), (JobRequest::default(), 3)] {
        let id = within(DEADLINE, jobs.enqueue(&request)).await.unwrap();
        within(DEADLINE, jobs.register_waiting()).await.unwrap();
        let job = next(&jobs).await;
        assert_eq!(job.id(), &id);
        within(DEADLINE, job.complete()).await.unwrap();
        assert_eq!(count().await, expected, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_job_comes_again_under_the_same_id() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(SHORT_WAIT).await;
    // This is `nats pub training.jobs ''`: no message id and no reply subject.
    bench.connection.client().publish("training.jobs", "".into()).await.unwrap();
    let first = next(&jobs).await;
    let id = first.id().clone();
    assert_eq!(id, bench.requested(1).await);
    drop(first);
    let second = next(&jobs).await;
    assert_eq!((second.id(), second.deliveries()), (&id, 2));
    within(DEADLINE, second.hand_back(Duration::ZERO)).await.unwrap();
    let third = next(&jobs).await;
    assert_eq!((third.id(), third.deliveries()), (&id, 3));
    within(DEADLINE, third.give_up("never")).await.unwrap();
    assert_eq!(jobs.outstanding().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_keeps_a_job_beyond_the_acknowledgement_wait() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(SHORT_WAIT).await;
    within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    let job = next(&jobs).await;
    assert!(!comes_within(&jobs, Duration::from_millis(3500)).await, "delivered again while worked on");
    within(DEADLINE, job.complete()).await.unwrap();
    assert_eq!(jobs.outstanding().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_back_waits_its_delay() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(SHORT_WAIT).await;
    within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    within(DEADLINE, next(&jobs).await.hand_back(Duration::from_secs(4))).await.unwrap();
    assert!(!comes_within(&jobs, Duration::from_secs(2)).await, "delivered before its delay");
    assert_eq!(next(&jobs).await.deliveries(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_at_a_time_over_all_workers() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    let job = next(&jobs).await;
    assert!(!comes_within(&jobs, Duration::from_secs(1)).await, "two runs at once");
    within(DEADLINE, job.complete()).await.unwrap();
    assert_eq!(next(&jobs).await.id(), &bench.requested(2).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_is_refused_with_an_event_and_the_next_job_is_served() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let mut refusals = bench.listen("training.events.*.refused").await;
    for body in ["train!", r#"{"epochs":0}"#, r#"{"epoch":3}"#, "{}"] {
        bench.connection.jetstream().publish("training.jobs", body.into()).await.unwrap().await.unwrap();
    }
    let job = next(&jobs).await;
    assert_eq!(job.id(), &bench.requested(4).await);
    for (sequence, field) in [(1, None), (2, Some("epochs")), (3, Some("epoch"))] {
        let event = next_event(&mut refusals).await;
        assert_eq!(event.job, bench.requested(sequence).await);
        assert_eq!(event.stage, "refused");
        assert_eq!(event.detail["field"].as_str(), field);
    }
    assert_eq!(jobs.outstanding().await.unwrap(), 1, "refused requests are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_the_wait() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let cancel = CancellationToken::new();
    let waiting = tokio::spawn({
        let (jobs, cancel) = (jobs.clone(), cancel.clone());
        async move { jobs.next(&cancel).await }
    });
    cancel.cancel();
    assert!(within(DEADLINE, waiting).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_consumer_is_made_again() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let stream = bench.connection.jetstream().get_stream("TRAINING").await.unwrap();
    stream.delete_consumer("trainer").await.unwrap();
    within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    assert_eq!(next(&jobs).await.id(), &bench.requested(1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_for_acknowledgements_may_change_between_starts() {
    let TestBroker { folder, connection, .. } = TestBroker::new().await;
    within(DEADLINE, connection.close()).await;
    let mut taken = None;
    for (seconds, ack_wait_is_set) in
        [(60, false), (90, true), (5, true), (3_600, true), (60, false), (61, true)]
    {
        let connection =
            within(DEADLINE, Connection::open(&Broker::Embedded(options(folder.path())))).await.unwrap();
        let streams =
            within(DEADLINE, Streams::ensure(&connection, &StreamSettings::default())).await.unwrap();
        let events = Events::new(&streams, Arc::new(SystemClock));
        let ack_wait = Duration::from_secs(seconds);
        let settings = JobSettings { ack_wait, ack_wait_is_set, ..JobSettings::default() };
        let jobs = within(DEADLINE, Jobs::open(&streams, &events, settings)).await.unwrap();
        if taken.is_none() {
            // A job is in progress while the time changes.
            within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
            taken = Some(next(&jobs).await);
        }
        within(DEADLINE, connection.close()).await;
    }
}
