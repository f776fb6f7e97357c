//! The stand-in's webhook reaches the worker, and the sweep it triggers reads the row.

use std::sync::Arc;
use std::time::Duration;

use autovalidate::ingest::IngestEvent;
use autovalidate::ingest::webhook::{Hint, SECRET_HEADER, receive};
use autovalidate::settings::{Needs, Settings};
use autovalidate::worker::{Role, Worker, WorkerOptions};
use autovalidate_fakes::supabase::{Options, Supabase, Webhook};
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::DEADLINE;
use crate::support::ingest::{Memory, Running, access, supabase, timing};
use crate::support::{nats_server, within};

#[tokio::test]
async fn a_webhook_wakes_the_sweep() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let webhook = Webhook {
        url: Url::parse(&format!("http://{address}/webhook")).expect("an address"),
        header: SECRET_HEADER.to_owned(),
        secret: "open sesame".to_owned(),
    };
    let options = Options { webhook: Some(webhook), poll: Duration::from_millis(10), ..Options::default() };
    let supabase = Supabase::start(options).await.expect("the stand-in starts");
    // Realtime delivers no row, so only the webhook can.
    supabase.faults().drop_events(u64::MAX);

    let inbox = Arc::new(Memory::default());
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;

    let (hints, mut hinted) = mpsc::unbounded_channel();
    let (access, sweep_trigger) = (access(&supabase), ingest.sweep_trigger.clone());
    let hook = post(move |headers: HeaderMap, body: Bytes| async move {
        let presented = headers.get(SECRET_HEADER).map(|value| value.as_bytes());
        let secret = SecretString::from("open sesame".to_owned());
        hints.send(receive(&access, &secret, presented, &body)).expect("the test listens");
        sweep_trigger.sweep();
        StatusCode::ACCEPTED
    });
    let server =
        tokio::spawn(axum::serve(listener, axum::Router::new().route("/webhook", hook)).into_future());

    let id = supabase.insert("toyta", "Toyota", "brand");
    let hint = within(DEADLINE, hinted.recv()).await.expect("a call").expect("a good hint");
    assert_eq!(hint, Hint { inserted: Some(id.into()), ..Hint::default() });
    inbox.holds([id]).await;
    ingest.stop().await;
    server.abort();
}

/// Returns the body that a database webhook sends for a row.
fn body(id: i64) -> String {
    format!(r#"{{"type":"INSERT","table":"typo_training_dataset","schema":"public","record":{{"id":{id}}}}}"#)
}

/// Sends the head of a call with this secret and none of its body, and returns the first line of the
/// answer.
async fn stalled_body(address: std::net::SocketAddr, secret: &str) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST /hooks/supabase HTTP/1.1\r\nhost: x\r\n{SECRET_HEADER}: {secret}\r\ncontent-length: 60000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut line = String::new();
    within(DEADLINE, BufReader::new(stream).read_line(&mut line)).await.expect("an answer");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_wakes_a_whole_worker_and_strangers_do_not() {
    let supabase = supabase().await;
    // The table is outside the publication, so Realtime delivers no row, and its next attempt is
    // most of a minute away.
    supabase.faults().unpublish(true);
    let folder = tempfile::tempdir().expect("a folder");
    let (url, key) = (supabase.url().to_string(), supabase.anon_key().to_owned());
    let (data, nats) = (folder.path().display().to_string(), nats_server().display().to_string());
    let environment = move |name: &str| match name {
        "SUPABASE_URL" => Some(url.clone()),
        "SUPABASE_ANON_KEY" => Some(key.clone()),
        "DATA_DIR" => Some(data.clone()),
        "NATS_SERVER" => Some(nats.clone()),
        "NATS_LISTEN" | "HTTP_ADDR" => Some("127.0.0.1:0".to_owned()),
        "SWEEP_EVERY" => Some("1h".to_owned()),
        "WEBHOOK_SECRET" => Some("open sesame, now".to_owned()),
        _ => None,
    };
    let settings =
        Settings::read(&environment, None, Needs { supabase: true, ..Needs::default() }).expect("good");
    let stop = CancellationToken::new();
    let program = Some(env!("CARGO_BIN_EXE_autovalidate").into());
    let options = WorkerOptions { program, ..Role::Listener.into() };
    let started = Box::pin(Worker::start(&settings, options, stop.clone()));
    let mut worker = within(DEADLINE, started).await.expect("the worker starts");
    let mut events = worker.take_ingest_events().expect("a listener");
    let mut ended = 0;
    within(DEADLINE, async {
        // A subscription is attempted twice in quick succession. The sweep after the second attempt
        // is the last automatic one.
        loop {
            match events.recv().await.expect("the ingest runs") {
                IngestEvent::SessionEnded { .. } => ended += 1,
                IngestEvent::Swept { .. } if ended == 2 => return,
                _ => {}
            }
        }
    })
    .await;

    let id = supabase.insert("toyta", "Toyota", "brand");
    let hook = format!("http://{}/hooks/supabase", worker.http());
    let call = async |secret: &str, body: String| {
        let request = reqwest::Client::new().post(&hook).header(SECRET_HEADER, secret).body(body);
        within(DEADLINE, request.send()).await.expect("an answer").status()
    };
    assert_eq!(call("open", body(id)).await, StatusCode::UNAUTHORIZED);
    let refused = stalled_body(worker.http(), "open").await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "a stranger's body is not waited for: {refused}");
    assert_eq!(call("open sesame, now", "x".repeat(70_000)).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(call("open sesame, now", "{".to_owned()).await, StatusCode::BAD_REQUEST);
    assert_eq!(call("open sesame, now", body(id)).await, StatusCode::ACCEPTED);
    within(DEADLINE, async {
        while !matches!(events.recv().await, Ok(IngestEvent::Swept { stored: 1, .. })) {}
    })
    .await;
    assert_eq!(worker.handles().corrections.count_after(0).await.expect("an answer"), 1);
    let metrics = reqwest::get(format!("http://{}/metrics", worker.http())).await.expect("an answer");
    assert!(metrics.text().await.expect("text").contains("autovalidate_rows_by_sweep_total 1"));
    let shown = reqwest::get(format!("http://{}/ingest", worker.http())).await.expect("an answer");
    let shown: serde_json::Value = shown.json().await.expect("JSON");
    let advice = shown["realtime_trouble"]["advice"].as_str().expect("a trouble");
    assert!(advice.contains("alter publication"), "{shown}");
    stop.cancel();
    within(DEADLINE, worker.join()).await.expect("the worker ends");
}
