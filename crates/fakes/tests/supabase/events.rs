//! Realtime and the webhook, in tables whose ids are uuids or texts.

use autovalidate_fakes::supabase::{IdType, Options, Webhook};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::support::{Bench, SOON, TEXT_TYPES, quoted};

/// A websocket with one channel.
struct Listener(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Listener {
    /// Subscribes to the table's changes that satisfy a filter.
    async fn join(bench: &Bench, filter: Option<&str>) -> Self {
        let (url, key) = (bench.supabase.url(), bench.supabase.anon_key());
        let address = format!("{url}realtime/v1/websocket?apikey={key}&vsn=2.0.0").replace("http:", "ws:");
        let connected = tokio::time::timeout(SOON, tokio_tungstenite::connect_async(address)).await;
        let mut listener = Self(connected.expect("in time").expect("a socket").0);
        let entry = json!({"event": "*", "schema": "public", "table": "typo_training_dataset", "filter": filter.unwrap_or_default()});
        let join = json!(["1", "1", "realtime:a", "phx_join", {"config": {"postgres_changes": [entry]}}]);
        listener.0.send(Message::text(join.to_string())).await.expect("sent");
        assert_eq!(listener.next().await["status"], "ok");
        assert_eq!(listener.next().await["message"], "Subscribed to PostgreSQL");
        listener
    }

    /// Returns the payload of the next frame.
    async fn next(&mut self) -> Value {
        let message = tokio::time::timeout(SOON, self.0.next()).await.expect("in time");
        let message = message.expect("a frame").expect("a good frame");
        let frame: Value = serde_json::from_str(message.to_text().expect("a text")).expect("JSON");
        frame[4].clone()
    }
}

#[tokio::test]
async fn events_carry_the_ids_text_and_its_type() {
    for (id_type, name) in [(IdType::BigInt, "int8"), (IdType::Uuid, "uuid"), (IdType::Text, "text")] {
        let bench = Bench::start(id_type).await;
        let mut listener = Listener::join(&bench, None).await;
        for _ in 0..15 {
            let number = bench.supabase.insert("toyta", "Toyota", "brand");
            let text = bench.supabase.id_text(number);
            let id = if id_type == IdType::BigInt { json!(number) } else { json!(text) };
            let inserted = listener.next().await["data"].clone();
            assert_eq!((&inserted["type"], &inserted["record"]["id"]), (&json!("INSERT"), &id));
            assert_eq!(inserted["columns"][0], json!({"name": "id", "type": name}));
            assert_eq!(inserted["columns"][4], json!({"name": "created_at", "type": "timestamptz"}));
            bench.supabase.update(number, "tojota", "Toyota", "brand");
            let updated = listener.next().await["data"].clone();
            assert_eq!((&updated["record"]["id"], &updated["old_record"]), (&id, &json!({"id": id})));
            bench.supabase.delete(number);
            let deleted = listener.next().await["data"].clone();
            assert_eq!((&deleted["type"], &deleted["old_record"]), (&json!("DELETE"), &json!({"id": id})));
        }
        let before = bench.supabase.id_text(1);
        bench.supabase.truncate_restart_identity();
        assert_eq!(bench.supabase.insert("toyta", "Toyota", "brand"), 1);
        let id = listener.next().await["data"]["record"]["id"].clone();
        match id_type {
            IdType::BigInt => assert_eq!(id, 1),
            _ => assert_ne!(id, before.as_str(), "no text comes back"),
        }
    }
}

#[tokio::test]
async fn a_subscription_may_be_for_one_id() {
    for id_type in TEXT_TYPES {
        let bench = Bench::start(id_type).await;
        let ids = bench.insert(5);
        // PostgreSQL reads a uuid in any case.
        let first = if id_type == IdType::Uuid { ids[1].to_uppercase() } else { ids[1].clone() };
        let filter = format!("id=in.({},{})", quoted(&ids[3]), quoted(&first));
        let mut listener = Listener::join(&bench, Some(&filter)).await;
        for number in 1..=5 {
            bench.supabase.update(number, "tojota", "Toyota", "brand");
        }
        for expected in [1, 3] {
            assert_eq!(listener.next().await["data"]["record"]["id"], ids[expected].as_str());
        }
    }
}

#[tokio::test]
async fn the_webhook_carries_the_ids_text() {
    for id_type in TEXT_TYPES {
        let (bodies, mut called) = tokio::sync::mpsc::unbounded_channel();
        let hook = axum::routing::post(move |axum::Json(body): axum::Json<Value>| async move {
            bodies.send(body).expect("the test listens");
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let app = axum::Router::new().route("/hook", hook);
        let server = tokio::spawn(axum::serve(listener, app).into_future());
        let webhook = Webhook {
            url: url.parse().expect("a URL"),
            header: "x-secret".to_owned(),
            secret: "secret".to_owned(),
        };
        let bench = Bench::with(Options { id_type, webhook: Some(webhook), ..Options::default() }).await;
        let mut next =
            async || tokio::time::timeout(SOON, called.recv()).await.expect("in time").expect("a call");
        let number = bench.supabase.insert("toyta", "Toyota", "brand");
        let id = json!(bench.supabase.id_text(number));
        assert_eq!(next().await["record"]["id"], id);
        bench.supabase.update(number, "tojota", "Toyota", "brand");
        let updated = next().await;
        assert_eq!((&updated["record"]["id"], &updated["old_record"]["id"]), (&id, &id));
        bench.supabase.delete(number);
        let deleted = next().await;
        assert_eq!((&deleted["type"], &deleted["old_record"]["id"]), (&json!("DELETE"), &id));
        server.abort();
    }
}
