//! Protocol state of a Realtime session: the join, the heartbeats, and the handling of every frame.
//!
//! Owns no socket and waits for nothing: `realtime` passes the frames in, and asks which deadline
//! has passed.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use supabase_realtime_rs::{
    ChannelEvent, ConnectionManager, PostgresChangeEvent, PostgresChangesFilter, RealtimeMessage, SystemEvent,
};
use tokio::time::{Instant, timeout};

use super::access::TableAccess;
use super::disconnect_reason::{DisconnectReason, ProtocolStep};
use super::realtime_event::{RealtimeDeadlines, RealtimeEvent};
use crate::row_identity::RowId;

/// Name of the channel; any name works.
const TOPIC: &str = "realtime:autovalidate-trainer";
/// Reference of the join, the first message of every session.
const JOIN_REF: &str = "1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinState {
    Joining,
    Subscribing,
    Live,
}

/// State of one session, and the client's side of its protocol.
pub(super) struct RealtimeSession<'a, F> {
    access: &'a TableAccess,
    limits: &'a RealtimeDeadlines,
    pub(super) connection: ConnectionManager,
    pub(super) report: F,
    pub(super) stage: JoinState,
    /// Deadline of the current stage; unused in [`JoinState::Live`].
    pub(super) due: Instant,
    /// Time at which the second sweep after a subscription is due.
    pub(super) settled: Option<Instant>,
    references: u64,
    /// Reference of the heartbeat that awaits its reply.
    heartbeat: Option<String>,
}

impl<'a, F: FnMut(RealtimeEvent) + Send> RealtimeSession<'a, F> {
    /// Creates a session that has not joined yet.
    pub(super) fn new(
        access: &'a TableAccess,
        limits: &'a RealtimeDeadlines,
        connection: ConnectionManager,
        report: F,
    ) -> Self {
        Self {
            access,
            limits,
            connection,
            report,
            stage: JoinState::Joining,
            due: Instant::now() + limits.join,
            settled: None,
            references: 1,
            heartbeat: None,
        }
    }

    /// Joins the channel and requests all changes of the table. The reply arrives later, as a frame.
    pub(super) async fn join(&self) -> Result<(), DisconnectReason> {
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
        PostgresChangesFilter::new(PostgresChangeEvent::All, &self.access.schema).table(&self.access.table)
    }

    /// Sends a heartbeat. The caller's timer decides when, whatever else arrives in the meantime.
    pub(super) async fn send_heartbeat(&mut self) -> Result<(), DisconnectReason> {
        if self.heartbeat.is_some() {
            return Err(DisconnectReason::Deadline {
                step: ProtocolStep::HeartbeatReply,
                limit: self.limits.heartbeat,
            });
        }
        self.references += 1;
        let reference = self.references.to_string();
        // Set before the heartbeat is sent: the reply may arrive at once.
        self.heartbeat = Some(reference.clone());
        let beat = ChannelEvent::System(SystemEvent::Heartbeat);
        self.send(RealtimeMessage::new("phoenix".to_owned(), beat, json!({})).with_ref(reference)).await
    }

    async fn send(&self, message: RealtimeMessage) -> Result<(), DisconnectReason> {
        let limit = self.limits.write;
        match timeout(limit, self.connection.send_message(message)).await {
            Ok(sent) => sent.map_err(DisconnectReason::Send),
            Err(_) => Err(DisconnectReason::Deadline { step: ProtocolStep::Write, limit }),
        }
    }

    /// Returns the reason for ending a session whose current stage took too long.
    pub(super) fn overdue(&self) -> DisconnectReason {
        match self.stage {
            JoinState::Joining => {
                DisconnectReason::Deadline { step: ProtocolStep::JoinReply, limit: self.limits.join }
            }
            JoinState::Subscribing | JoinState::Live => {
                DisconnectReason::Deadline { step: ProtocolStep::Subscription, limit: self.limits.subscribe }
            }
        }
    }

    /// Handles one text frame.
    pub(super) fn handle_frame(&mut self, text: &str) -> Result<(), DisconnectReason> {
        let Ok(message) = serde_json::from_str::<RealtimeMessage>(text) else {
            // The unreadable frame may have been a row, and every later frame may be unreadable,
            // too.
            return Err(DisconnectReason::Unreadable);
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
                self.handle_join_reply(&payload)
            }
            ChannelEvent::System(SystemEvent::Close) => Err(DisconnectReason::ChannelClosed),
            ChannelEvent::System(SystemEvent::Error) => Err(DisconnectReason::ChannelCrashed),
            ChannelEvent::Custom(name) if name == "system" => self.handle_system(&payload),
            ChannelEvent::PostgresChanges => {
                self.handle_change(&payload);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Handles the reply to the join: `ok` with an echo of the requested changes, or a reason.
    fn handle_join_reply(&mut self, payload: &Value) -> Result<(), DisconnectReason> {
        if payload["status"] != "ok" {
            return Err(DisconnectReason::of_reason(
                payload["response"]["reason"].as_str().unwrap_or_default(),
            ));
        }
        let echo = &payload["response"]["postgres_changes"][0];
        let asked = json!(self.changes());
        let same = ["event", "schema", "table"].iter().all(|key| echo[key] == asked[key]);
        if !same {
            return Err(DisconnectReason::Mismatch);
        }
        // The server may send the `system` message before this reply: never step back from `Live`.
        if self.stage == JoinState::Joining {
            self.wait_for_subscription();
        }
        Ok(())
    }

    fn wait_for_subscription(&mut self) {
        self.stage = JoinState::Subscribing;
        self.due = Instant::now() + self.limits.subscribe;
    }

    /// Handles a `system` message. `Subscribed` comes again whenever the server resubscribes; each
    /// time, events before it may be missing.
    fn handle_system(&mut self, payload: &Value) -> Result<(), DisconnectReason> {
        let field = |name: &str| payload[name].as_str().unwrap_or_default();
        let message = field("message");
        match (field("extension"), field("status")) {
            ("postgres_changes", "ok") => {
                self.stage = JoinState::Live;
                self.settled = Some(Instant::now() + self.limits.settle);
                (self.report)(RealtimeEvent::Subscribed);
                Ok(())
            }
            ("postgres_changes", _) => {
                let permanent = ["Unable to subscribe", "Error parsing", "No subscription params"];
                if permanent.iter().any(|words| message.starts_with(words)) {
                    return Err(DisconnectReason::unpublished(self.access));
                }
                // The server retries by itself. If it does not succeed in time, this session ends.
                // Each try may fail with a message of its own, so only the first one starts the
                // deadline.
                if self.stage == JoinState::Live {
                    self.wait_for_subscription();
                }
                (self.report)(RealtimeEvent::Gap);
                Ok(())
            }
            ("system", "error") => Err(DisconnectReason::of_eviction(message)),
            // `Server requested disconnect`: a close of the socket follows.
            _ => Ok(()),
        }
    }

    /// Handles a row event. An event with errors carries at most part of the row; the sweep reads
    /// the whole row. Of an update or a deletion only the id is used: events of one row can arrive in
    /// another order than sweeps read the row, so the table has the last word.
    fn handle_change(&mut self, payload: &Value) {
        let data = &payload["data"];
        let id_in = |record: &Value| record.as_object().and_then(|record| self.access.columns.id_of(record));
        match data["type"].as_str() {
            Some("INSERT") => {}
            Some(kind @ ("UPDATE" | "DELETE")) => {
                // With row-level security, a deletion has the primary key only.
                let (new, old) = (id_in(&data["record"]), id_in(&data["old_record"]));
                let ids: BTreeSet<RowId> = new.into_iter().chain(old).collect();
                if ids.is_empty() {
                    (self.report)(RealtimeEvent::Gap);
                }
                let event = if kind == "DELETE" { RealtimeEvent::Deleted } else { RealtimeEvent::Changed };
                ids.into_iter().for_each(|id| (self.report)(event(id)));
                return;
            }
            _ => return,
        }
        let event = match (&data["errors"], data["record"].as_object()) {
            (Value::Null, Some(record)) => match self.access.columns.decode(record) {
                Ok(row) => RealtimeEvent::Row(row),
                Err(malformed) => RealtimeEvent::Malformed(malformed),
            },
            (_, record) => {
                let id = record.and_then(|record| self.access.columns.id_of(record));
                id.map_or(RealtimeEvent::Gap, RealtimeEvent::Partial)
            }
        };
        (self.report)(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use url::Url;

    /// Returns the events that a new session reports for one frame, and the reason for its end, if
    /// it ends.
    fn receive(text: &str) -> (Vec<RealtimeEvent>, Option<DisconnectReason>) {
        let access =
            TableAccess::new(Url::parse("http://localhost").expect("an address"), "key".to_owned().into());
        let mut events = Vec::new();
        let limits = RealtimeDeadlines::default();
        let report = |event| events.push(event);
        let mut session = RealtimeSession::new(&access, &limits, ConnectionManager::new(), report);
        let reason = session.handle_frame(text).err();
        (events, reason)
    }

    fn on_topic(event: &str, payload: &Value) -> (Vec<RealtimeEvent>, Option<DisconnectReason>) {
        receive(&json!({"topic": TOPIC, "event": event, "payload": payload, "ref": "1"}).to_string())
    }

    #[test]
    fn a_change_with_errors_and_no_timestamp_is_a_gap() {
        let data = json!({"type": "INSERT", "errors": ["Error 401: Unauthorized"], "columns": [], "record": {},
                          "commit_timestamp": null, "schema": "public", "table": "typo_training_dataset"});
        let (events, reason) = on_topic("postgres_changes", &json!({"ids": [1], "data": data}));
        assert_eq!(events, [RealtimeEvent::Gap]);
        assert!(reason.is_none());
    }

    #[test]
    fn a_change_that_was_cut_short_names_its_row() {
        let data = json!({"type": "INSERT", "errors": ["Error 413: Payload Too Large"], "record": {"id": 5}});
        let (events, reason) = on_topic("postgres_changes", &json!({"ids": [1], "data": data}));
        assert_eq!(events, [RealtimeEvent::Partial(5.into())]);
        assert!(reason.is_none());
    }

    #[test]
    fn an_update_and_a_deletion_name_their_rows() {
        let of = |data: Value| on_topic("postgres_changes", &json!({"ids": [1], "data": data})).0;
        let update = json!({"type": "UPDATE", "errors": null, "record": {"id": 5, "typo": "a"}, "old_record": {"id": 4}});
        assert_eq!(
            of(update),
            [RealtimeEvent::Changed(4.into()), RealtimeEvent::Changed(5.into())],
            "its id has changed"
        );
        let deletion = json!({"type": "DELETE", "errors": null, "old_record": {"id": 5}});
        assert_eq!(of(deletion), [RealtimeEvent::Deleted(5.into())]);
        let cut = json!({"type": "UPDATE", "errors": ["Error 401: Unauthorized"], "record": {}});
        assert_eq!(of(cut), [RealtimeEvent::Gap]);
    }

    #[test]
    fn every_failure_ends_the_session() {
        let ended = |event: &str, payload: Value| on_topic(event, &payload).1;
        assert!(matches!(receive("<html>").1, Some(DisconnectReason::Unreadable)));
        assert!(matches!(ended("phx_close", json!({})), Some(DisconnectReason::ChannelClosed)));
        assert!(matches!(ended("phx_error", json!({})), Some(DisconnectReason::ChannelCrashed)));
        let refused = json!({"status": "error", "response": {"reason": "PrivateOnly: no public channels"}});
        assert!(
            matches!(ended("phx_reply", refused), Some(DisconnectReason::Refused { code }) if code == "PrivateOnly")
        );
        let other = json!({"status": "ok", "response": {"postgres_changes": [{"id": 1, "event": "INSERT",
                           "schema": "public", "table": "other"}]}});
        assert!(matches!(ended("phx_reply", other), Some(DisconnectReason::Mismatch)));
        let expired =
            json!({"extension": "system", "status": "error", "message": "Token has expired 3 seconds ago"});
        assert!(matches!(ended("system", expired), Some(DisconnectReason::Evicted { .. })));
        let unable = json!({"extension": "postgres_changes", "status": "error",
                            "message": "Unable to subscribe to changes with given parameters."});
        assert!(matches!(ended("system", unable), Some(DisconnectReason::Unpublished { .. })));
    }

    #[test]
    fn trouble_the_server_mends_itself_is_a_gap() {
        let busy = json!({"extension": "postgres_changes", "status": "error", "message": "Too many database timeouts"});
        let (events, reason) = on_topic("system", &busy);
        assert_eq!(events, [RealtimeEvent::Gap]);
        assert!(reason.is_none());
    }

    proptest! {
        #[test]
        fn any_frame_is_received_without_panic(text in ".{0,120}", payload in ".{0,60}") {
            let _ = receive(&text);
            let payload = serde_json::from_str(&payload).unwrap_or(Value::String(payload));
            for event in ["phx_reply", "system", "postgres_changes", "phx_close"] {
                let _ = on_topic(event, &payload);
                let _ = on_topic(event, &json!({"data": payload, "response": payload, "status": "ok"}));
            }
        }
    }
}
