//! Exit of an idle worker: when it comes, and everything that keeps it from coming.

use std::time::Duration;

use autovalidate::broker::{JobRequest, JobSettings, trainer_is_up};
use autovalidate::ingest::IngestEvent;
use autovalidate::settings::{Needs, Settings};
use autovalidate::worker::{Role, Worker, WorkerOptions};
use autovalidate_fakes::supabase::RestFault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::broker::TestBroker;
use crate::support::sleeper::{Checks, IDLE, Sleeper, call, exited};
use crate::support::within;
use crate::support::worker::{WEBHOOK_SECRET, another_client};

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_listener_stores_what_it_finds_and_exits_with_its_broker() {
    let sleeper = Sleeper::new(&[]).await;
    sleeper.insert(5);
    let worker = sleeper.wake().await;
    let url = worker.handles().streams.connection().server().unwrap().url();
    exited(worker).await.unwrap();
    let address = url.strip_prefix("nats://").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nats-server has ended");
    assert_eq!(sleeper.stored().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_embedded_server_keeps_the_worker_up() {
    let sleeper = Sleeper::new(&[]).await;
    let worker = sleeper.wake().await;
    let client = another_client(worker.handles()).await;
    let mut checks = Checks::watch(&client).await;
    let ending = tokio::spawn(worker.join());
    checks.many().await;
    assert!(!ending.is_finished());
    drop((client, checks));
    within(DEADLINE, ending).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_keeps_the_worker_up_until_it_has_ended() {
    let bench = TestBroker::new().await;
    let sleeper = Sleeper::new(&[("NATS_URL", &bench.url())]).await;
    let jobs = bench.jobs(JobSettings::default()).await;
    jobs.enqueue(&JobRequest::default()).await.unwrap();
    let mut checks = Checks::watch(bench.connection.client()).await;
    let worker = sleeper.wake().await;
    let ending = tokio::spawn(worker.join());
    checks.many().await;
    assert!(!ending.is_finished(), "a job waits");
    let job = within(DEADLINE, jobs.next(&CancellationToken::new())).await.unwrap();
    checks.many().await;
    assert!(!ending.is_finished(), "a job is in progress");
    job.complete().await.unwrap();
    within(DEADLINE, ending).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_fails_keeps_the_worker_up_until_it_succeeds() {
    let sleeper = Sleeper::new(&[]).await;
    sleeper.supabase.faults().fail_rest(RestFault::Status(500), 10_000);
    sleeper.insert(3);
    let mut worker = sleeper.wake().await;
    let mut events = worker.take_ingest_events().unwrap();
    let ending = tokio::spawn(worker.join());
    within(DEADLINE, async {
        for _ in 0..3 {
            while !matches!(events.recv().await.unwrap(), IngestEvent::Failed { .. }) {}
        }
    })
    .await;
    assert!(!ending.is_finished());
    sleeper.supabase.faults().clear_rest();
    within(DEADLINE, ending).await.unwrap().unwrap();
    assert_eq!(sleeper.stored().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_due_soon_is_started_before_the_worker_may_exit() {
    let bench = TestBroker::new().await;
    let settings = [("NATS_URL", bench.url()), ("TRAIN_QUIET", "1s 500ms".to_owned())];
    let sleeper = Sleeper::new(&settings.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    sleeper.insert(3);
    let jobs = bench.jobs(JobSettings::default()).await;
    let worker = sleeper.wake_for(Duration::from_secs(3)).await;
    let ending = tokio::spawn(worker.join());
    let job = within(DEADLINE, jobs.next(&CancellationToken::new())).await.unwrap();
    assert_eq!(job.id().as_str(), "pairs-1-3");
    assert!(!ending.is_finished());
    job.complete().await.unwrap();
    within(DEADLINE, ending).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hook_that_was_accepted_while_the_worker_exits_is_served_first() {
    let sleeper = Sleeper::new(&[]).await;
    let worker = sleeper.wake().await;
    let address = worker.http();
    // The head of the request arrives in time, and the body only when the socket is closing.
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /hooks/supabase HTTP/1.1\r\nhost: a\r\nx-webhook-secret: {WEBHOOK_SECRET}\r\ncontent-length: 2\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let ending = tokio::spawn(worker.join());
    within(DEADLINE, async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    sleeper.insert(1);
    slow.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    within(DEADLINE, slow.read_to_string(&mut answer)).await.unwrap();
    within(DEADLINE, ending).await.unwrap().unwrap();
    let accepted = answer.starts_with("HTTP/1.1 202");
    assert!(accepted || answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(!accepted || sleeper.stored().await == 1, "a hook was accepted and its pair is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_finds_no_job_is_up_for_a_while_and_exits() {
    let bench = TestBroker::new().await;
    let sleeper = Sleeper::new(&[("NATS_URL", &bench.url()), ("HF_REPO", "local/model")]).await;
    let library = crate::support::onnxruntime().display().to_string();
    let environment = |name: &str| match name {
        "ORT_DYLIB_PATH" => Some(library.clone()),
        name => sleeper.environment().get(name).cloned(),
    };
    let settings = Settings::read(&environment, None, Needs::default()).unwrap();
    let trainer =
        WorkerOptions { role: Role::Trainer, exit_when_idle: Some(IDLE * 5), ..WorkerOptions::default() };
    let worker = within(DEADLINE, Worker::start(&settings, trainer, CancellationToken::new())).await.unwrap();
    assert!(within(DEADLINE, trainer_is_up(&bench.streams, DEADLINE)).await.unwrap());
    exited(worker).await.unwrap();
    assert!(!trainer_is_up(&bench.streams, IDLE).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_does_not_keep_the_worker_up() {
    let sleeper = Sleeper::new(&[]).await;
    let worker = sleeper.wake().await;
    let mut endless = TcpStream::connect(worker.http()).await.unwrap();
    endless.write_all(b"POST /hooks/supabase HTTP/1.1\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    exited(worker).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_finds_the_row_of_a_lost_webhook_and_a_stranger_may_not_tick() {
    let sleeper = Sleeper::new(&[]).await;
    let mut worker = sleeper.wake_for(IDLE * 3).await;
    let mut events = worker.take_ingest_events().unwrap();
    within(DEADLINE, async { while !matches!(events.recv().await.unwrap(), IngestEvent::Audited { .. }) {} })
        .await;
    sleeper.insert(1);
    let (status, text) = call(worker.http(), "tick", "guess").await;
    assert_eq!(status, 401, "{text}");
    assert!(text.contains("x-webhook-secret"), "{text}");
    let (status, text) = call(worker.http(), "tick", WEBHOOK_SECRET).await;
    assert_eq!((status, text.as_str()), (202, ""));
    exited(worker).await.unwrap();
    assert_eq!(sleeper.stored().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_between_an_accepted_hook_and_its_sleep_loses_nothing() {
    let sleeper = Sleeper::new(&[]).await;
    let mut rows = 0;
    for moment in 0..12 {
        let worker = sleeper.wake().await;
        rows += sleeper.insert(1).len() as u64;
        let (status, _) = call(worker.http(), "supabase", WEBHOOK_SECRET).await;
        assert_eq!(status, 202);
        // Dropping the worker kills its broker and aborts its tasks wherever they are: in the
        // sweep, between two checks, or on the way out.
        let killed_after = Duration::from_millis(10) * 2_u32.pow(moment % 8);
        let _ = tokio::time::timeout(killed_after, worker.join()).await;
    }
    exited(sleeper.wake().await).await.unwrap();
    assert_eq!(sleeper.stored().await, rows);
}
