//! The official Python client uses the queue like any user's program.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use autovalidate::broker::{JobId, JobSettings, StatusService};
use autovalidate::worker::Status;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::broker::TestBroker;
use crate::support::{local, python, within};

/// Runs a Python program with the server's address as its argument, and returns what it prints.
async fn run(bench: &TestBroker, program: &str) -> String {
    run_with(bench, program, python()).await
}

async fn run_with(bench: &TestBroker, program: &str, python: PathBuf) -> String {
    let child = tokio::process::Command::new(python)
        .args(["-c", program, &bench.url()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = within(DEADLINE, child).await.unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_gets_a_run_and_a_request_an_acknowledgement() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let program = r#"
import asyncio, json, nats, sys

async def main():
    client = await nats.connect(sys.argv[1])
    await client.publish("training.jobs", b"{}")
    answer = await client.request("training.jobs", b'{"reason":"after cleanup","epochs":2}', timeout=10)
    print(json.loads(answer.data)["seq"])
    await client.drain()

asyncio.run(main())
"#;
    assert_eq!(run(&bench, program).await.trim(), "2");
    let cancel = CancellationToken::new();
    let published = within(DEADLINE, jobs.next(&cancel)).await.unwrap();
    assert_eq!(published.id(), &bench.requested(1).await);
    within(DEADLINE, published.complete()).await.unwrap();
    let requested = within(DEADLINE, jobs.next(&cancel)).await.unwrap();
    assert_eq!(requested.request().reason.as_deref(), Some("after cleanup"));
    assert_eq!(requested.request().epochs, Some(2));
    within(DEADLINE, requested.complete()).await.unwrap();

    // A client of a year ago says the same.
    let older = local("clients/python-2.24/bin/python");
    assert_eq!(run_with(&bench, program, older).await.trim(), "4");
    let published = within(DEADLINE, jobs.next(&cancel)).await.unwrap();
    within(DEADLINE, published.complete()).await.unwrap();
    let requested = within(DEADLINE, jobs.next(&cancel)).await.unwrap();
    assert_eq!(requested.request().reason.as_deref(), Some("after cleanup"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_answered_and_the_service_is_found() {
    let bench = TestBroker::new().await;
    let status = Status {
        pending: 7,
        threshold: 10,
        due: None,
        current_job: Some(JobId::manual(3)),
        queued: vec![JobId::manual(4)],
        queued_more: 0,
        trainer_start: None,
        last_run: None,
        trainer_up: Some(true),
        settings: None,
        version: "1.2.3".into(),
    };
    let answer = status.clone();
    let service = StatusService::start(&bench.streams, false, move || {
        let status = answer.clone();
        async move { Ok(status) }.boxed()
    });
    let service = within(DEADLINE, service).await.unwrap();
    let program = r#"
import asyncio, json, nats, sys

async def main():
    client = await nats.connect(sys.argv[1])
    status = await client.request("training.status", b"", timeout=10)
    info = await client.request("$SRV.INFO.training-status", b"", timeout=10)
    print(json.dumps({"status": json.loads(status.data), "info": json.loads(info.data)}))
    await client.drain()

asyncio.run(main())
"#;
    let printed: serde_json::Value = serde_json::from_str(&run(&bench, program).await).unwrap();
    assert_eq!(serde_json::from_value::<Status>(printed["status"].clone()).unwrap(), status);
    assert_eq!(printed["info"]["endpoints"][0]["subject"], "training.status");

    drop(service);
    // A request during the shutdown of the service gets no answer; a later one gets "no
    // responders".
    let client = bench.connection.client();
    within(DEADLINE, async {
        let request = || async_nats::Request::new().timeout(Some(Duration::from_millis(200)));
        loop {
            match client.send_request("training.status", request()).await {
                Err(error) if error.kind() == RequestErrorKind::NoResponders => return,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
}
