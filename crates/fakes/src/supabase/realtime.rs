//! Realtime: a websocket's session, its channels, and row events in commit order.
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

use super::Shared;
use super::channel::{Channel, Stage, bindings, row_event, system};
use super::faults::SocketFault;
use super::frame::{Frame, Framing};
use super::keys::Role;
use super::table::ChangeKind;

/// Time until the server subscribes again by itself, in multiples of
/// [`subscribed_delay`](super::Options::subscribed_delay).
const RECOVERY: u32 = 20;

/// One websocket.
pub(super) struct Session {
    shared: Arc<Shared>,
    framing: Framing,
    /// The connection's key, which authenticates channels that have no token of their own.
    key: String,
    channels: HashMap<String, Channel>,
    /// Rejections of joins, with the time to send them.
    delayed: Vec<(Instant, Frame)>,
    /// Frames to send now.
    outbox: Vec<Frame>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, framing: Framing, key: String) -> Self {
        Self { shared, framing, key, channels: HashMap::new(), delayed: Vec::new(), outbox: Vec::new() }
    }

    /// Serves the socket until either side ends the connection. Returning drops the connection
    /// without a close frame.
    pub(super) async fn serve(mut self, mut socket: WebSocket) {
        let mut strikes = self.shared.faults.strikes();
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
                    SocketFault::TokenExpired => self.expire(),
                    SocketFault::ChannelCrash => self.crash(),
                    SocketFault::Resubscribed => self.resubscribe(),
                    SocketFault::Degraded => self.degrade(),
                },
                _ = poll.tick() => self.poll(),
                message = socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => {
                        heard = Instant::now();
                        if let Some(frame) = self.framing.decode(&text) {
                            self.receive(&frame);
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => heard = Instant::now(),
                },
            }
            if self.flush(&mut socket).await.is_break() {
                return;
            }
        }
    }

    async fn flush(&mut self, socket: &mut WebSocket) -> ControlFlow<()> {
        for frame in self.outbox.drain(..) {
            tokio::time::sleep(self.shared.faults.frame_delay()).await;
            let text = Message::Text(self.framing.encode(&frame).into());
            match tokio::time::timeout(Duration::from_secs(30), socket.send(text)).await {
                Ok(Ok(())) => {}
                _ => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    fn receive(&mut self, frame: &Frame) {
        match (frame.topic.as_str(), frame.event.as_str()) {
            ("phoenix", "heartbeat") if self.shared.faults.heartbeats_silent() => {}
            ("phoenix", "heartbeat") => self.outbox.push(frame.reply("ok", &json!({}))),
            (_, "phx_join") => self.join(frame),
            (_, "phx_leave") => {
                self.channels.remove(&frame.topic);
                self.outbox.push(frame.reply("ok", &json!({})));
                let mut closed = Frame::push(&frame.join_ref, &frame.topic, "phx_close", json!({}));
                closed.reference = frame.join_ref.clone();
                self.outbox.push(closed);
            }
            (_, "access_token") => self.refresh(frame),
            (topic, _) if !self.channels.contains_key(topic) => {
                self.outbox.push(frame.reply("error", &json!({"reason": "unmatched topic"})));
            }
            // The worker uses neither broadcast nor presence.
            _ => {}
        }
    }

    fn join(&mut self, frame: &Frame) {
        if self.shared.faults.joins_silent() {
            return;
        }
        let token = frame.payload.get("access_token").and_then(Value::as_str);
        let reason = match frame.topic.strip_prefix("realtime:") {
            None | Some("") => Some("TopicNameRequired: You must provide a topic name".to_owned()),
            Some(_) => self.shared.faults.join_refusal().or_else(|| self.token_fault(token)),
        };
        if let Some(reason) = reason {
            let due = Instant::now() + self.shared.options.join_error_delay;
            self.delayed.push((due, frame.reply("error", &json!({"reason": reason}))));
            return;
        }
        if let Some(old) = self.channels.remove(&frame.topic) {
            self.outbox.push(old.closed(&frame.topic));
        }
        let (bindings, wrong) = match bindings(self.shared.options.id_type, &frame.payload) {
            Ok(bindings) => (bindings, None),
            Err(text) => (Vec::new(), Some(text)),
        };
        let echo: Vec<_> = bindings.iter().map(|binding| binding.echo.clone()).collect();
        self.outbox.push(frame.reply("ok", &json!({"postgres_changes": echo})));
        let ready = Instant::now() + self.shared.options.subscribed_delay;
        let stage = if bindings.is_empty() { Stage::Deaf } else { Stage::Subscribing { ready } };
        let token = token.filter(|token| !token.starts_with("sb_")).unwrap_or(&self.key).to_owned();
        let channel = Channel { join_ref: frame.join_ref.clone(), token, bindings, stage };
        if let Some(text) = wrong {
            self.outbox.push(channel.system(&frame.topic, system("postgres_changes", "error", &text)));
        }
        self.channels.insert(frame.topic.clone(), channel);
    }

    /// Returns the reason why a channel's own token is rejected. Keys of the newer kind are ignored
    /// here, as the real server does.
    fn token_fault(&self, token: Option<&str>) -> Option<String> {
        let token = token.filter(|token| !token.starts_with("sb_"))?;
        self.shared
            .keys
            .role(token)
            .is_none()
            .then(|| "MalformedJWT: The token provided is not a valid JWT".to_owned())
    }

    /// Sets a new token for a channel. A valid token gets no reply; the channel only subscribes to
    /// row changes again.
    fn refresh(&mut self, frame: &Frame) {
        let token = frame.payload.get("access_token").and_then(Value::as_str);
        let fault = self.token_fault(token);
        let ready = Instant::now() + self.shared.options.subscribed_delay;
        let Some(channel) = self.channels.get_mut(&frame.topic) else { return };
        if fault.is_some() {
            let text = "Fields 'role' and 'exp' are required in JWT";
            self.outbox.push(channel.system(&frame.topic, system("system", "error", text)));
            self.outbox.push(channel.closed(&frame.topic));
            self.channels.remove(&frame.topic);
            return;
        }
        // An unchanged or absent token, or a key of the newer kind, changes nothing.
        if let Some(token) = token.filter(|token| !token.starts_with("sb_") && *token != channel.token) {
            channel.token = token.to_owned();
            if !channel.bindings.is_empty() {
                channel.stage = Stage::Subscribing { ready };
            }
        }
    }

    fn expire(&mut self) {
        for (topic, channel) in self.channels.drain() {
            let text = "Token has expired 1 seconds ago";
            self.outbox.push(channel.system(&topic, system("system", "error", text)));
            self.outbox.push(channel.closed(&topic));
        }
    }

    fn crash(&mut self) {
        for (topic, channel) in self.channels.drain() {
            let mut frame = channel.closed(&topic);
            frame.event = "phx_error".to_owned();
            self.outbox.push(frame);
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
        for (topic, channel) in self.channels.iter_mut().filter(|(_, channel)| !channel.bindings.is_empty()) {
            channel.stage = Stage::Subscribing { ready };
            let message = system("postgres_changes", "error", "Too many database timeouts");
            self.outbox.push(channel.system(topic, message));
        }
    }

    /// Polls the write-ahead log: sends the frames that are due, then the committed changes.
    fn poll(&mut self) {
        let now = Instant::now();
        for (_, frame) in self.delayed.extract_if(.., |(due, _)| *due <= now) {
            self.outbox.push(frame);
        }
        for (topic, channel) in &mut self.channels {
            match channel.stage {
                Stage::Subscribing { ready } if ready <= now => {
                    let (status, text) = if self.shared.faults.unpublished() {
                        channel.stage = Stage::Deaf;
                        ("error", channel.unable())
                    } else {
                        channel.stage = Stage::Live { position: self.shared.table().committed() };
                        ("ok", "Subscribed to PostgreSQL".to_owned())
                    };
                    self.outbox.push(channel.system(topic, system("postgres_changes", status, &text)));
                }
                Stage::Live { position } => {
                    let table = self.shared.table();
                    let commits = table.since(position);
                    // The server looks every changed row up, so it drops the changes of rows that are
                    // gone by now.
                    let there: Vec<_> = commits.iter().map(|commit| table.holds(&commit.key)).collect();
                    drop(table);
                    channel.stage = Stage::Live { position: position + commits.len() };
                    let role = self.shared.keys.role(&channel.token);
                    let hidden = role != Some(Role::Service) && self.shared.faults.rows_hidden();
                    for (commit, there) in commits.into_iter().zip(there) {
                        // No policy can be checked for a row that is gone, so every deletion is sent.
                        if commit.kind != ChangeKind::Delete && (hidden || !there) {
                            continue;
                        }
                        let Some(event) = row_event(&self.shared, channel, role, &commit) else { continue };
                        if self.shared.faults.take_dropped_event() {
                            continue;
                        }
                        let frame = Frame::push(&channel.join_ref, topic, "postgres_changes", event);
                        if self.shared.faults.events_doubled() {
                            self.outbox.push(frame.clone());
                        }
                        self.outbox.push(frame);
                    }
                }
                Stage::Subscribing { .. } | Stage::Deaf => {}
            }
        }
    }
}

async fn close(socket: &mut WebSocket, code: u16) {
    let frame = CloseFrame { code, reason: "".into() };
    // The peer may be gone already: the socket is dropped next either way.
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(Some(frame)))).await;
}
