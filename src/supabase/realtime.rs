//! One generation of the Realtime connection: connect, join, stream rows, end at the first sign of death.
//!
//! A generation is disposable. It is never repaired: when anything is wrong it ends with a reason, and the
//! ingest starts the next one and sweeps the table.
//!
//! It stands on `supabase-realtime-rs`: its socket factory, its connection's writer, its messages and events.
//! It does not use that crate's `RealtimeClient`, which (in 0.1.2) reconnects a dead socket without joining
//! again and so looks alive while it is deaf, ignores the join's reply, waits for slow listeners inside its
//! reader, and keeps every client and its socket in a reference cycle for ever. Reading the frames here, all
//! duties are observed: the join's reply and its echo, `Subscribed to PostgreSQL` (again), heartbeat replies,
//! `phx_close` and `phx_error`, and a deadline on each of them.
//!
//! `tungstenite` logs the address with its key, and every frame, at `trace`: telemetry must never let that
//! target below `debug`.

use std::time::Duration;

use futures::StreamExt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use supabase_realtime_rs::websocket::WebSocketFactory;
use supabase_realtime_rs::{
    ChannelEvent, ConnectionManager, PostgresChangeEvent, PostgresChangesFilter, RealtimeMessage, SystemEvent,
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tungstenite::Message;

use super::access::{Access, Malformed};
use super::end::{End, Step};
use crate::correction::Row;

/// Name of the channel; any name does.
const TOPIC: &str = "realtime:autovalidate-trainer";
/// The reference of the join, the first message of every generation.
const JOIN_REF: &str = "1";

/// Deadlines of a generation.
#[derive(Debug, Clone)]
pub struct Limits {
    /// To open the websocket. The server answers a refusal after 2 s.
    pub connect: Duration,
    /// To send one frame.
    pub write: Duration,
    /// To get the join's reply. The server sends a refusal after 5 s.
    pub join: Duration,
    /// To get `Subscribed to PostgreSQL`, which takes seconds on a cold project.
    pub subscribe: Duration,
    /// Between heartbeats; each must be answered before the next. The server closes after 60 s of silence.
    pub heartbeat: Duration,
    /// After `Subscribed`, until rows can no longer fall between subscription and replication slot.
    pub settle: Duration,
    /// Age at which the connection is replaced; the gateway's own end comes at 24 h.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            write: Duration::from_secs(10),
            join: Duration::from_secs(15),
            subscribe: Duration::from_secs(30),
            heartbeat: Duration::from_secs(25),
            settle: Duration::from_secs(5),
            age: Duration::from_secs(8 * 3600),
        }
    }
}

/// What a generation reports while it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sign {
    /// Rows flow from here on; what was committed before may be missing.
    Subscribed,
    /// A row.
    Row(Row),
    /// A row that can't be a pair.
    Malformed(Malformed),
    /// Something may be missing: sweep.
    Gap,
}

/// Lives one generation, and says how it ended. `report` must not block: it is called by the socket's reader.
pub(super) async fn live(
    access: &Access,
    limits: &Limits,
    stop: &CancellationToken,
    report: impl FnMut(Sign) + Send,
) -> End {
    let born = Instant::now();
    let opened = async {
        let url = access.realtime_url()?;
        let connect = WebSocketFactory::create(url.expose_secret().to_owned());
        let deadline = End::Deadline { step: Step::Connection, limit: limits.connect };
        timeout(limits.connect, connect).await.map_err(|_| deadline)?.map_err(End::of_connect)
    };
    let socket = tokio::select! {
        () = stop.cancelled() => return End::Stopped,
        opened = opened => match opened {
            Ok(socket) => socket,
            Err(end) => return end,
        },
    };
    let (writer, mut frames) = socket.split();
    let connection = ConnectionManager::new();
    connection.set_writer(writer).await;
    let mut generation = Generation {
        access,
        limits,
        connection,
        report,
        stage: Stage::Joining,
        due: Instant::now() + limits.join,
        settled: None,
        references: 1,
        heartbeat: None,
    };
    if let Err(end) = generation.join().await {
        return end;
    }
    let mut heartbeats = tokio::time::interval_at(Instant::now() + limits.heartbeat, limits.heartbeat);
    loop {
        let step = tokio::select! {
            () = stop.cancelled() => Err(End::Stopped),
            () = sleep_until(born + limits.age) => Err(End::Aged),
            () = sleep_until(generation.due), if generation.stage != Stage::Live => Err(generation.overdue()),
            () = sleep_until(generation.settled.unwrap_or(born)), if generation.settled.is_some() => {
                generation.settled = None;
                (generation.report)(Sign::Gap);
                Ok(())
            }
            _ = heartbeats.tick() => generation.beat().await,
            frame = frames.next() => match frame {
                Some(Ok(Message::Text(text))) => generation.hear(&text),
                Some(Ok(Message::Close(frame))) => {
                    Err(End::SocketClosed { code: frame.map(|frame| frame.code.into()) })
                }
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(End::Socket(error)),
                None => Err(End::SocketClosed { code: None }),
            },
        };
        if let Err(end) = step {
            // Best effort: dropping the socket is all that must happen, and the drop is certain.
            let _ = timeout(Duration::from_secs(1), generation.connection.close()).await;
            return end;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Joining,
    Subscribing,
    Live,
}

struct Generation<'a, F> {
    access: &'a Access,
    limits: &'a Limits,
    connection: ConnectionManager,
    report: F,
    stage: Stage,
    /// When the present stage must be over, unless it is [`Stage::Live`].
    due: Instant,
    /// When the second sweep after a subscription is worth making.
    settled: Option<Instant>,
    references: u64,
    /// The heartbeat that waits for its reply.
    heartbeat: Option<String>,
}

impl<F: FnMut(Sign) + Send> Generation<'_, F> {
    async fn join(&self) -> Result<(), End> {
        let changes = self.changes();
        let mut payload = json!({
            "config": {
                "broadcast": {"ack": false, "self": false},
                "presence": {"key": "", "enabled": false},
                "private": false,
                "postgres_changes": [changes],
            },
        });
        if let Some(token) = self.access.token() {
            payload["access_token"] = token.expose_secret().into();
        }
        let join = ChannelEvent::System(SystemEvent::Join);
        let message = RealtimeMessage::new(TOPIC.to_owned(), join, payload)
            .with_ref(JOIN_REF.to_owned())
            .with_join_ref(JOIN_REF.to_owned());
        self.send(message).await
    }

    fn changes(&self) -> PostgresChangesFilter {
        PostgresChangesFilter::new(PostgresChangeEvent::Insert, &self.access.schema).table(&self.access.table)
    }

    /// Sends a heartbeat on its own clock, whatever else arrived meanwhile.
    async fn beat(&mut self) -> Result<(), End> {
        if self.heartbeat.is_some() {
            return Err(End::Deadline { step: Step::HeartbeatReply, limit: self.limits.heartbeat });
        }
        self.references += 1;
        let reference = self.references.to_string();
        // Remembered before it is sent: the reply may be read at once.
        self.heartbeat = Some(reference.clone());
        let beat = ChannelEvent::System(SystemEvent::Heartbeat);
        self.send(RealtimeMessage::new("phoenix".to_owned(), beat, json!({})).with_ref(reference)).await
    }

    async fn send(&self, message: RealtimeMessage) -> Result<(), End> {
        let limit = self.limits.write;
        match timeout(limit, self.connection.send_message(message)).await {
            Ok(sent) => sent.map_err(End::Send),
            Err(_) => Err(End::Deadline { step: Step::Write, limit }),
        }
    }

    fn overdue(&self) -> End {
        match self.stage {
            Stage::Joining => End::Deadline { step: Step::JoinReply, limit: self.limits.join },
            Stage::Subscribing | Stage::Live => {
                End::Deadline { step: Step::Subscription, limit: self.limits.subscribe }
            }
        }
    }

    fn hear(&mut self, text: &str) -> Result<(), End> {
        let Ok(message) = serde_json::from_str::<RealtimeMessage>(text) else {
            // What can't be read may have been a row.
            (self.report)(Sign::Gap);
            return Ok(());
        };
        let RealtimeMessage { topic, event, payload, r#ref: reference, .. } = message;
        if topic == "phoenix" {
            if event == ChannelEvent::System(SystemEvent::Reply) && reference == self.heartbeat {
                self.heartbeat = None;
            }
            return Ok(());
        }
        if topic != TOPIC {
            return Ok(());
        }
        match event {
            ChannelEvent::System(SystemEvent::Reply) if reference.as_deref() == Some(JOIN_REF) => {
                self.joined(&payload)
            }
            ChannelEvent::System(SystemEvent::Close) => Err(End::ChannelClosed),
            ChannelEvent::System(SystemEvent::Error) => Err(End::ChannelCrashed),
            ChannelEvent::Custom(name) if name == "system" => self.told(&payload),
            ChannelEvent::PostgresChanges => {
                self.changed(&payload);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The join's reply: `ok` with an echo of what was asked for, or a reason.
    fn joined(&mut self, payload: &Value) -> Result<(), End> {
        if payload["status"] != "ok" {
            return Err(End::of_reason(payload["response"]["reason"].as_str().unwrap_or_default()));
        }
        let echo = &payload["response"]["postgres_changes"][0];
        let asked = json!(self.changes());
        let same = ["event", "schema", "table"].iter().all(|key| echo[key] == asked[key]);
        if !same {
            return Err(End::Mismatch);
        }
        // The order of reply and `system` message is the server's: don't step back from `Live`.
        if self.stage == Stage::Joining {
            self.wait_for_subscription();
        }
        Ok(())
    }

    fn wait_for_subscription(&mut self) {
        self.stage = Stage::Subscribing;
        self.due = Instant::now() + self.limits.subscribe;
    }

    /// A `system` message. `Subscribed` may come again: the server resubscribed, and each time it does, events
    /// before it may be missing.
    fn told(&mut self, payload: &Value) -> Result<(), End> {
        let field = |name: &str| payload[name].as_str().unwrap_or_default();
        let message = field("message");
        match (field("extension"), field("status")) {
            ("postgres_changes", "ok") => {
                self.stage = Stage::Live;
                self.settled = Some(Instant::now() + self.limits.settle);
                (self.report)(Sign::Subscribed);
                Ok(())
            }
            ("postgres_changes", _) => {
                let final_words = ["Unable to subscribe", "Error parsing", "No subscription params"];
                if final_words.iter().any(|words| message.starts_with(words)) {
                    return Err(End::unpublished(self.access));
                }
                // The server tries again by itself; if it doesn't succeed in time, this generation is over. Each
                // try may fail with a message of its own: only the first starts the deadline.
                if self.stage == Stage::Live {
                    self.wait_for_subscription();
                }
                (self.report)(Sign::Gap);
                Ok(())
            }
            ("system", "error") => Err(End::of_eviction(message)),
            // `Server requested disconnect`: the socket's close follows.
            _ => Ok(()),
        }
    }

    /// A row event. One with errors carries a part of the row at most; the sweep reads the whole.
    fn changed(&mut self, payload: &Value) {
        let data = &payload["data"];
        if data["type"] != "INSERT" {
            return;
        }
        let sign = match (&data["errors"], data["record"].as_object()) {
            (Value::Null, Some(record)) => match self.access.columns.decode(record) {
                Ok(row) => Sign::Row(row),
                Err(malformed) => Sign::Malformed(malformed),
            },
            _ => Sign::Gap,
        };
        (self.report)(sign);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use url::Url;

    /// What a joined generation reports for one frame, and how it ends, if it does.
    fn hear(text: &str) -> (Vec<Sign>, Option<End>) {
        let access =
            Access::new(Url::parse("http://localhost").expect("an address"), "key".to_owned().into());
        let mut signs = Vec::new();
        let mut generation = Generation {
            access: &access,
            limits: &Limits::default(),
            connection: ConnectionManager::new(),
            report: |sign| signs.push(sign),
            stage: Stage::Joining,
            due: Instant::now(),
            settled: None,
            references: 1,
            heartbeat: None,
        };
        let end = generation.hear(text).err();
        (signs, end)
    }

    fn on_topic(event: &str, payload: &Value) -> (Vec<Sign>, Option<End>) {
        hear(&json!({"topic": TOPIC, "event": event, "payload": payload, "ref": "1"}).to_string())
    }

    #[test]
    fn a_change_with_errors_and_no_timestamp_is_a_gap() {
        let data = json!({"type": "INSERT", "errors": ["Error 401: Unauthorized"], "columns": [], "record": {},
                          "commit_timestamp": null, "schema": "public", "table": "typo_training_dataset"});
        let (signs, end) = on_topic("postgres_changes", &json!({"ids": [1], "data": data}));
        assert_eq!(signs, [Sign::Gap]);
        assert!(end.is_none());
    }

    #[test]
    fn every_sign_of_death_ends_the_generation() {
        let ended = |event: &str, payload: Value| on_topic(event, &payload).1;
        assert!(matches!(ended("phx_close", json!({})), Some(End::ChannelClosed)));
        assert!(matches!(ended("phx_error", json!({})), Some(End::ChannelCrashed)));
        let refused = json!({"status": "error", "response": {"reason": "PrivateOnly: no public channels"}});
        assert!(matches!(ended("phx_reply", refused), Some(End::Refused { code }) if code == "PrivateOnly"));
        let other = json!({"status": "ok", "response": {"postgres_changes": [{"id": 1, "event": "INSERT",
                           "schema": "public", "table": "other"}]}});
        assert!(matches!(ended("phx_reply", other), Some(End::Mismatch)));
        let expired =
            json!({"extension": "system", "status": "error", "message": "Token has expired 3 seconds ago"});
        assert!(matches!(ended("system", expired), Some(End::Evicted { .. })));
        let unable = json!({"extension": "postgres_changes", "status": "error",
                            "message": "Unable to subscribe to changes with given parameters."});
        assert!(matches!(ended("system", unable), Some(End::Unpublished { .. })));
    }

    #[test]
    fn trouble_the_server_mends_itself_is_a_gap() {
        let busy = json!({"extension": "postgres_changes", "status": "error", "message": "Too many database timeouts"});
        let (signs, end) = on_topic("system", &busy);
        assert_eq!(signs, [Sign::Gap]);
        assert!(end.is_none());
    }

    proptest! {
        #[test]
        fn any_frame_is_heard_without_panic(text in ".{0,120}", payload in ".{0,60}") {
            let _ = hear(&text);
            let payload = serde_json::from_str(&payload).unwrap_or(Value::String(payload));
            for event in ["phx_reply", "system", "postgres_changes", "phx_close"] {
                let _ = on_topic(event, &payload);
                let _ = on_topic(event, &json!({"data": payload, "response": payload, "status": "ok"}));
            }
        }
    }
}
