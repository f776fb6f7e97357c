//! The stand-in's webhook reaches the worker's half, and the row comes by the sweep it asks for.

use std::sync::Arc;
use std::time::Duration;

use autovalidate::local::supabase::{Options, Supabase, Webhook};
use autovalidate::supabase::webhook::{Hint, SECRET_HEADER, receive};
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use secrecy::SecretString;
use tokio::sync::mpsc;
use url::Url;

use super::memory::{DEADLINE, Memory, Running, access, pace};
use crate::support::within;

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
    // No row comes over Realtime: it is the webhook or nothing.
    supabase.faults().drop_events(u64::MAX);

    let inbox = Arc::new(Memory::default());
    let mut ingest = Running::start(access(&supabase), &inbox, pace());
    ingest.settled().await;

    let (hints, mut hinted) = mpsc::unbounded_channel();
    let (access, wake) = (access(&supabase), ingest.wake.clone());
    let hook = post(move |headers: HeaderMap, body: Bytes| async move {
        let presented = headers.get(SECRET_HEADER).map(|value| value.as_bytes());
        let secret = SecretString::from("open sesame".to_owned());
        hints.send(receive(&access, &secret, presented, &body)).expect("the test listens");
        wake.sweep();
        StatusCode::ACCEPTED
    });
    let server =
        tokio::spawn(axum::serve(listener, axum::Router::new().route("/webhook", hook)).into_future());

    let id = supabase.insert("toyta", "Toyota", "brand");
    let hint = within(DEADLINE, hinted.recv()).await.expect("a call").expect("a good hint");
    assert_eq!(hint, Hint { id: Some(id) });
    inbox.holds([id]).await;
    ingest.stop().await;
    server.abort();
}
