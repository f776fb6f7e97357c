//! A websocket's session, its channels, and row events in commit order.
//!
//! Each socket has one task. Every timed action (the `system` message after a join, a delayed
//! refusal, a row event) happens on the poll tick, so a channel's frames have the same order as
//! those of the real server. There is no replay: a channel starts at the end of the commit log.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};

use super::super::Shared;
use super::super::faults::SocketFault;
use super::super::keys::{Role, is_opaque};
use super::super::table::ChangeKind;
use super::binding::Binding;
use super::channel::{Access, Channel, Stage, Unauthorized};
use super::event::row_events;
use super::frame::{Frame, Framing, UserBroadcast};
use super::hub;

/// Time until the server subscribes again by itself, in multiples of
/// [`subscribed_delay`](super::super::Options::subscribed_delay).
const RECOVERY: u32 = 20;

/// Number of channels that a socket may have.
const MOST_CHANNELS: usize = 100;

/// One websocket.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    /// Number of the socket.
    pub(super) number: u64,
    pub(super) framing: Framing,
    /// The connection's key, which authenticates channels that have no token of their own.
    key: String,
    pub(super) channels: HashMap<String, Channel>,
    /// Rejections of joins, with the time to send them.
    delayed: Vec<(Instant, Frame)>,
    /// Messages to send now.
    pub(super) outbox: Vec<Message>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, framing: Framing, key: String) -> Self {
        let number = shared.hub.enter();
        Self {
            shared,
            number,
            framing,
            key,
            channels: HashMap::new(),
            delayed: Vec::new(),
            outbox: Vec::new(),
        }
    }

    /// Serves the socket until either side ends the connection. Returning drops the connection
    /// without a close frame.
    pub(super) async fn serve(mut self, mut socket: WebSocket) {
        let mut strikes = self.shared.faults.strikes();
        let mut told = self.shared.hub.listen();
        let mut poll = tokio::time::interval(self.shared.options.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut joined) = (Instant::now(), Instant::now());
        loop {
            if !self.channels.is_empty() {
                joined = Instant::now();
            }
            let silence = heard + self.shared.options.silence;
            let idle = joined + self.shared.options.idle;
            tokio::select! {
                () = self.shared.stop.cancelled() => return close(&mut socket, 1012).await,
                () = tokio::time::sleep_until(silence.min(idle)) => return close(&mut socket, 1000).await,
                Ok(fault) = strikes.recv() => match fault {
                    SocketFault::Kill => return,
                    SocketFault::Close(code) => return close(&mut socket, code).await,
                    SocketFault::TokenExpired => self.expire_all(),
                    SocketFault::ChannelCrash => self.crash(),
                    SocketFault::Resubscribed => self.resubscribe(),
                    SocketFault::Degraded => self.degrade(),
                },
                Ok(message) = told.recv() => self.pass_on(&message),
                _ = poll.tick() => self.poll(),
                message = socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => {
                        heard = Instant::now();
                        if let Some(frame) = self.framing.decode(&text) {
                            self.receive(frame);
                        }
                    }
                    Some(Ok(Message::Binary(bytes))) => {
                        heard = Instant::now();
                        if let Some((broadcast, frame)) = UserBroadcast::decode(&bytes) {
                            self.broadcast(&frame, hub::Message::User(broadcast));
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => heard = Instant::now(),
                },
            }
            if self.flush(&mut socket).await.is_break() {
                return;
            }
        }
    }

    async fn flush(&mut self, socket: &mut WebSocket) -> ControlFlow<()> {
        for message in self.outbox.drain(..) {
            tokio::time::sleep(self.shared.faults.frame_delay()).await;
            match tokio::time::timeout(Duration::from_secs(30), socket.send(message)).await {
                Ok(Ok(())) => {}
                _ => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    pub(super) fn send(&mut self, frame: &Frame) {
        self.outbox.push(Message::Text(self.framing.encode(frame).into()));
    }

    fn receive(&mut self, frame: Frame) {
        match (frame.topic.as_str(), frame.event.as_str()) {
            ("phoenix", "heartbeat") if self.shared.faults.heartbeats_silent() => {}
            ("phoenix", "heartbeat") => self.send(&frame.reply("ok", &json!({}))),
            (_, "phx_join") => self.join(&frame),
            (topic, _) if !self.channels.contains_key(topic) => {
                self.send(&frame.reply("error", &json!({"reason": "unmatched topic"})));
            }
            (_, "phx_leave") => {
                self.leave(&frame.topic);
                self.send(&frame.reply("ok", &json!({})));
                let mut closed = Frame::push(&frame.join_ref, &frame.topic, "phx_close", json!({}));
                closed.reference = frame.join_ref.clone();
                self.send(&closed);
            }
            (_, "access_token") => self.refresh(&frame),
            (_, "broadcast") => {
                let message = hub::Message::Broadcast(frame.payload.clone());
                self.broadcast(&frame, message);
            }
            (_, "presence") => self.presence(&frame),
            // The server ignores other events.
            _ => {}
        }
    }

    fn join(&mut self, frame: &Frame) {
        if self.shared.faults.joins_silent() {
            return;
        }
        let Some(name) = frame.topic.strip_prefix("realtime:") else {
            return self.send(&frame.reply("error", &json!({"reason": "unmatched topic"})));
        };
        let token = ["access_token", "user_token"].map(|key| frame.payload.get(key).and_then(Value::as_str));
        let token = token.into_iter().flatten().next().filter(|token| !is_opaque(token)).unwrap_or(&self.key);
        let config = |path: &str| frame.payload.pointer(&format!("/config/{path}"));
        let is_set = |path: &str| config(path).and_then(Value::as_bool).unwrap_or(false);
        let access = self.may_join(name, token, is_set("private"));
        let access = match access {
            Ok(access) => access,
            Err(reason) => {
                let due = Instant::now() + self.shared.options.join_error_delay;
                self.delayed.push((due, frame.reply("error", &json!({"reason": reason}))));
                return;
            }
        };
        let bindings = config("postgres_changes").and_then(Value::as_array).into_iter().flatten();
        let bindings: Vec<_> = bindings.filter(|entry| !entry.is_null()).map(Binding::of).collect();
        let key = config("presence/key").and_then(Value::as_str).filter(|key| !key.is_empty());
        let channel = Channel {
            join_ref: frame.join_ref.clone(),
            token: token.to_owned(),
            access,
            stage: match bindings.is_empty() {
                true => Stage::Deaf,
                false => Stage::Subscribing { ready: Instant::now() + self.shared.options.subscribed_delay },
            },
            bindings,
            hears_itself: is_set("broadcast/self"),
            acknowledges: is_set("broadcast/ack"),
            watches_presence: is_set("presence/enabled"),
            presence_key: key.map_or_else(|| format!("local-{}", self.number), str::to_owned),
        };
        if let Some(old) = self.leave(&frame.topic) {
            self.send(&old.closed(&frame.topic));
        }
        let echo: Vec<_> = channel.bindings.iter().map(|binding| &binding.echo).collect();
        self.send(&frame.reply("ok", &json!({"postgres_changes": echo})));
        if channel.watches_presence {
            let state = self.shared.hub.presences(|presences| presences.state(&frame.topic));
            self.send(&Frame::push(&channel.join_ref, &frame.topic, "presence_state", state));
        }
        self.channels.insert(frame.topic.clone(), channel);
    }

    /// Returns what the token grants on a channel, or the reason why the join is rejected.
    fn may_join(&self, name: &str, token: &str, private: bool) -> Result<Access, String> {
        if name.is_empty() {
            return Err("TopicNameRequired: You must provide a topic name".to_owned());
        }
        if let Some(reason) = self.shared.faults.join_refusal() {
            return Err(reason);
        }
        if self.channels.len() >= MOST_CHANNELS {
            return Err("ChannelRateLimitReached: Too many channels".to_owned());
        }
        let access = Access::of(&self.shared, token)
            .map_err(|Unauthorized { code, text }| format!("{code}: {text}"))?;
        match private && access.role != Role::Service {
            // The project has no policies for messages.
            true => Err(format!(
                "Unauthorized: You do not have permissions to read from this Channel topic: {name}"
            )),
            false => Ok(access),
        }
    }

    /// Ends a channel, and the client's presence on it.
    fn leave(&mut self, topic: &str) -> Option<Channel> {
        let channel = self.channels.remove(topic)?;
        self.absent(topic, &channel);
        Some(channel)
    }

    /// Sets a new token for a channel. A valid token gets no reply; the channel only subscribes to
    /// row changes again.
    fn refresh(&mut self, frame: &Frame) {
        let token = frame.payload.get("access_token").and_then(Value::as_str);
        let ready = Instant::now() + self.shared.options.subscribed_delay;
        let Some(channel) = self.channels.get_mut(&frame.topic) else { return };
        // An unchanged or absent token, or a key of the newer kind, changes nothing.
        let Some(token) = token.filter(|token| !is_opaque(token) && *token != channel.token) else { return };
        match Access::of(&self.shared, token) {
            Ok(access) => {
                channel.token = token.to_owned();
                channel.access = access;
                if !channel.bindings.is_empty() {
                    channel.stage = Stage::Subscribing { ready };
                }
            }
            Err(Unauthorized { text, .. }) => self.shut(&frame.topic, &text),
        }
    }

    /// Closes a channel for a reason. The socket stays open.
    fn shut(&mut self, topic: &str, reason: &str) {
        if let Some(channel) = self.leave(topic) {
            self.send(&channel.system(topic, "system", "error", reason));
            self.send(&channel.closed(topic));
        }
    }

    fn topics(&self) -> Vec<String> {
        self.channels.keys().cloned().collect()
    }

    fn expire_all(&mut self) {
        for topic in self.topics() {
            self.shut(&topic, "Token has expired 1 seconds ago");
        }
    }

    fn crash(&mut self) {
        for topic in self.topics() {
            if let Some(channel) = self.leave(&topic) {
                let mut frame = channel.closed(&topic);
                frame.event = "phx_error".to_owned();
                self.send(&frame);
            }
        }
    }

    fn resubscribe(&mut self) {
        let ready = Instant::now() + self.shared.options.subscribed_delay;
        for channel in self.channels.values_mut().filter(|channel| !channel.bindings.is_empty()) {
            channel.stage = Stage::Subscribing { ready };
        }
    }

    fn degrade(&mut self) {
        let ready = Instant::now() + RECOVERY * self.shared.options.subscribed_delay;
        let mut frames = Vec::new();
        for (topic, channel) in self.channels.iter_mut().filter(|(_, channel)| !channel.bindings.is_empty()) {
            channel.stage = Stage::Subscribing { ready };
            frames.push(channel.system(topic, "postgres_changes", "error", "Too many database timeouts"));
        }
        frames.iter().for_each(|frame| self.send(frame));
    }

    /// Polls the write-ahead log: sends the frames that are due, then the committed changes.
    fn poll(&mut self) {
        let now = Instant::now();
        let mut frames: Vec<_> =
            self.delayed.extract_if(.., |(due, _)| *due <= now).map(|(_, frame)| frame).collect();
        for (topic, channel) in &mut self.channels {
            match channel.stage {
                Stage::Subscribing { ready } if ready <= now => {
                    let (status, text) = match channel.subscribe(&self.shared) {
                        Ok(()) => {
                            channel.stage = Stage::Live { position: self.shared.table().committed() };
                            ("ok", "Subscribed to PostgreSQL".to_owned())
                        }
                        Err(text) => {
                            channel.stage = Stage::Deaf;
                            ("error", text)
                        }
                    };
                    frames.push(channel.system(topic, "postgres_changes", status, &text));
                }
                Stage::Live { position } => {
                    let (seen, changes) = changes(&self.shared, topic, channel, position);
                    channel.stage = Stage::Live { position: seen };
                    frames.extend(changes);
                }
                Stage::Subscribing { .. } | Stage::Deaf => {}
            }
        }
        frames.iter().for_each(|frame| self.send(frame));
        let expired =
            |(topic, channel): (&String, &Channel)| Some((topic.clone(), channel.access.expired()?));
        let expired: Vec<_> = self.channels.iter().filter_map(expired).collect();
        for (topic, reason) in expired {
            self.shut(&topic, &reason);
        }
    }
}

impl Drop for Session {
    /// Tells the others that the client is gone.
    fn drop(&mut self) {
        for (topic, channel) in &self.channels {
            self.absent(topic, channel);
        }
    }
}

/// Returns the end of the log, and the frames for the changes since a position.
fn changes(shared: &Shared, topic: &str, channel: &Channel, position: usize) -> (usize, Vec<Frame>) {
    let table = shared.table();
    let commits = table.since(position);
    // The server looks every changed row up, so it drops the changes of rows that are gone by now.
    let there: Vec<_> = commits.iter().map(|commit| table.holds(&commit.key)).collect();
    drop(table);
    let role = channel.access.role;
    let hidden = role != Role::Service && shared.faults.rows_hidden();
    let seen = position + commits.len();
    let mut frames = Vec::new();
    for (commit, there) in commits.into_iter().zip(there) {
        // No policy can be checked for a row that is gone, so every deletion is sent.
        if commit.kind != ChangeKind::Delete && (hidden || !there) {
            continue;
        }
        for event in row_events(shared, &channel.bindings, role, &commit) {
            if shared.faults.take_dropped_event() {
                continue;
            }
            let frame = Frame::fan_out(topic, "postgres_changes", event);
            if shared.faults.events_doubled() {
                frames.push(frame.clone());
            }
            frames.push(frame);
        }
    }
    (seen, frames)
}

async fn close(socket: &mut WebSocket, code: u16) {
    let frame = CloseFrame { code, reason: "".into() };
    // The peer may be gone already: the socket is dropped next either way.
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(Some(frame)))).await;
}
