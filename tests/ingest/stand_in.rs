//! Behavior of the stand-in that neither the official clients nor our own worker exercise.

// Clippy exempts only functions with a test attribute, but these helpers fail tests in the same
// way.
#![allow(clippy::expect_used)]

use std::time::Duration;

use autovalidate_fakes::supabase::{Options, Supabase, Webhook};
use futures::{SinkExt, Stream, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use supabase_realtime_rs::websocket::WebSocketFactory;
use tungstenite::Message;

use crate::support::DEADLINE;
use crate::support::ingest::supabase;
use crate::support::within;

/// Sends a request to PostgREST as the service role.
async fn ask(
    supabase: &Supabase,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, String, Value) {
    let url = format!("{}rest/v1/{path}", supabase.url());
    let mut request = reqwest::Client::new()
        .request(method, url)
        .header("apikey", supabase.service_key())
        .bearer_auth(supabase.service_key())
        .header("prefer", "return=representation, count=exact");
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = within(DEADLINE, request.send()).await.expect("an answer");
    let range = response.headers().get("content-range").map(|range| range.to_str().expect("text").to_owned());
    let status = response.status();
    let text = within(DEADLINE, response.text()).await.expect("a body");
    (status, range.unwrap_or_default(), serde_json::from_str(&text).unwrap_or_default())
}

#[tokio::test]
async fn writing_follows_postgrest() {
    let supabase = supabase().await;
    let write = |body| ask(&supabase, Method::POST, "typo_training_dataset", Some(body));
    let (status, _, rows) =
        write(json!([{"typo": "a", "corrected": "b"}, {"typo": "c", "corrected": "d"}])).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!((&rows[0]["id"], &rows[1]["id"], &rows[0]["domain"]), (&json!(1), &json!(2), &Value::Null));
    assert!(rows[0]["created_at"].as_str().is_some_and(|at| at.ends_with("+00:00")));

    let (status, _, error) = write(json!({"nope": 1})).await;
    assert_eq!((status.as_u16(), &error["code"]), (400, &json!("PGRST204")));
    let (status, _, error) = write(json!({"id": 1})).await;
    assert_eq!((status.as_u16(), &error["code"]), (409, &json!("23505")));
    let (status, _, error) = write(json!([{"typo": "a"}, {"corrected": "b"}])).await;
    assert_eq!((status.as_u16(), &error["code"]), (400, &json!("PGRST102")));
    let (status, _, rows) = write(json!("text")).await;
    assert_eq!((status.as_u16(), rows), (201, json!([])), "a value that is no object has no rows");
}

#[tokio::test]
async fn counts_and_ranges_follow_postgrest() {
    let supabase = supabase().await;
    for _ in 0..5 {
        supabase.insert("a", "b", "brand");
    }
    let read = |query: &str| {
        let path = format!("typo_training_dataset?{query}");
        let supabase = &supabase;
        async move { ask(supabase, Method::GET, &path, None).await }
    };
    let (status, range, _) = read("limit=2&order=id.asc").await;
    assert_eq!((status.as_u16(), range.as_str()), (206, "0-1/5"));
    let (status, range, rows) = read("id=eq.9").await;
    assert_eq!((status.as_u16(), range.as_str(), rows), (200, "*/0", json!([])));
    let (status, _, error) = read("offset=9").await;
    assert_eq!((status.as_u16(), &error["code"]), (416, &json!("PGRST103")));
    let (status, _, error) = read("id=gt.x").await;
    assert_eq!((status.as_u16(), &error["code"]), (400, &json!("22P02")));
}

#[tokio::test]
async fn an_old_row_is_whole_only_with_full_replica_identity_and_without_policies() {
    for (row_level_security, whole_when_deleted) in [(false, true), (true, false)] {
        let options = Options {
            full_replica_identity: true,
            row_level_security,
            poll: Duration::from_millis(10),
            subscribed_delay: Duration::ZERO,
            ..Options::default()
        };
        let supabase = Supabase::start(options).await.expect("the stand-in starts");
        let query = format!("apikey={}&vsn=2.0.0", supabase.anon_key());
        let socket =
            within(DEADLINE, WebSocketFactory::create(address(&supabase, &query))).await.expect("a socket");
        let (mut write, mut read) = socket.split();
        let wanted = ["UPDATE", "DELETE"]
            .map(|event| json!({"event": event, "schema": "public", "table": "typo_training_dataset"}));
        let join = json!(["1", "1", "realtime:a", "phx_join", {"config": {"postgres_changes": wanted}}]);
        write.send(Message::text(join.to_string())).await.expect("sent");
        let echo = next(&mut read).await[4]["response"]["postgres_changes"].clone();
        assert_eq!(next(&mut read).await[4]["message"], "Subscribed to PostgreSQL");

        let id = supabase.insert("toyta", "Toyota", "brand");
        supabase.update(id, "tojota", "Toyota", "brand");
        let updated = next(&mut read).await[4].clone();
        assert_eq!(updated["ids"], json!([echo[0]["id"]]));
        assert_eq!(updated["data"]["record"]["typo"], "tojota");
        assert_eq!(updated["data"]["old_record"]["typo"], "toyta");
        supabase.delete(id);
        let deleted = next(&mut read).await[4].clone();
        assert_eq!((&deleted["ids"], &deleted["data"]["type"]), (&json!([echo[1]["id"]]), &json!("DELETE")));
        assert_eq!(deleted["data"]["old_record"]["typo"].is_string(), whole_when_deleted, "{deleted}");
        assert!(deleted["data"].get("record").is_none());

        supabase.insert("a", "b", "brand");
        supabase.truncate_restart_identity();
        assert_eq!((supabase.ids(), supabase.insert("a", "b", "brand")), (Vec::new(), 1));
    }
}

#[tokio::test]
async fn the_webhook_tells_of_updates_and_deletes() {
    let (bodies, mut called) = tokio::sync::mpsc::unbounded_channel();
    let hook = axum::routing::post(move |axum::Json(body): axum::Json<Value>| async move {
        bodies.send(body).expect("the test listens");
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let server = tokio::spawn(axum::serve(listener, axum::Router::new().route("/hook", hook)).into_future());
    let webhook = Webhook {
        url: url.parse().expect("a URL"),
        header: "x-secret".to_owned(),
        secret: "secret".to_owned(),
    };
    let options = Options { webhook: Some(webhook), ..Options::default() };
    let supabase = Supabase::start(options).await.expect("the stand-in starts");
    let id = supabase.insert("toyta", "Toyota", "brand");
    let inserted = within(DEADLINE, called.recv()).await.expect("a call");
    assert_eq!((&inserted["type"], &inserted["old_record"]), (&json!("INSERT"), &Value::Null));
    supabase.update(id, "tojota", "Toyota", "brand");
    let updated = within(DEADLINE, called.recv()).await.expect("a call");
    assert_eq!((&updated["type"], &updated["old_record"]["typo"]), (&json!("UPDATE"), &json!("toyta")));
    assert_eq!(updated["record"]["typo"], "tojota");
    supabase.delete(id);
    let deleted = within(DEADLINE, called.recv()).await.expect("a call");
    assert_eq!((&deleted["type"], &deleted["record"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(deleted["old_record"]["id"], id);
    server.abort();
}

async fn next(frames: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin)) -> Value {
    let message = within(DEADLINE, frames.next()).await.expect("a frame").expect("a good frame");
    serde_json::from_str(message.to_text().expect("a text")).expect("JSON")
}

fn address(supabase: &Supabase, query: &str) -> String {
    format!("{}realtime/v1/websocket?{query}", supabase.url()).replace("http://", "ws://")
}

#[tokio::test]
async fn the_second_framing_speaks_in_arrays() {
    let supabase = supabase().await;
    let query = format!("apikey={}&vsn=2.0.0", supabase.anon_key());
    let socket =
        within(DEADLINE, WebSocketFactory::create(address(&supabase, &query))).await.expect("a socket");
    let (mut write, mut read) = socket.split();
    let entry = json!({"event": "*", "schema": "public", "table": "typo_training_dataset"});
    let join = json!(["1", "1", "realtime:a", "phx_join", {"config": {"postgres_changes": [entry]}}]);
    write.send(Message::text(join.to_string())).await.expect("sent");

    let reply = next(&mut read).await;
    assert_eq!((&reply[0], &reply[1], &reply[3]), (&json!("1"), &json!("1"), &json!("phx_reply")));
    let echo = &reply[4]["response"]["postgres_changes"][0];
    assert!(echo["id"].is_u64() && echo["event"] == "*");
    assert_eq!(next(&mut read).await[4]["message"], "Subscribed to PostgreSQL");

    let id = supabase.insert("toyta", "Toyota", "brand");
    let event = next(&mut read).await;
    assert_eq!((&event[0], &event[1], &event[3]), (&Value::Null, &Value::Null, &json!("postgres_changes")));
    assert_eq!(event[4]["ids"], json!([echo["id"]]));
    assert_eq!(event[4]["data"]["record"]["id"], id);

    // A second join replaces the first, and the first is closed under its own reference.
    let again = json!(["7", "8", "realtime:a", "phx_join", {"config": {"postgres_changes": [entry]}}]);
    write.send(Message::text(again.to_string())).await.expect("sent");
    let closed = next(&mut read).await;
    assert_eq!((&closed[1], &closed[3]), (&json!("1"), &json!("phx_close")));
    assert_eq!(next(&mut read).await[4]["response"]["postgres_changes"][0]["id"], echo["id"]);
}

#[tokio::test]
async fn a_silent_client_and_a_bad_key_are_shown_the_door() {
    let options = Options { silence: Duration::from_millis(50), ..Options::default() };
    let supabase = Supabase::start(options).await.expect("the stand-in starts");
    let query = format!("apikey={}", supabase.anon_key());
    let mut socket =
        within(DEADLINE, WebSocketFactory::create(address(&supabase, &query))).await.expect("a socket");
    let message = within(DEADLINE, socket.next()).await.expect("a frame").expect("a good frame");
    assert!(message.is_close());

    let refused = within(DEADLINE, WebSocketFactory::create(address(&supabase, "apikey=nobody"))).await;
    assert!(refused.is_err());
}
