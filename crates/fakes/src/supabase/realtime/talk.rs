//! Broadcasts and presences of a websocket's client, and those of the others.

use axum::extract::ws::Message;
use serde_json::{Value, json};

use super::channel::Channel;
use super::frame::{Frame, Framing};
use super::hub::{self, Told};
use super::session::Session;

impl Session {
    /// Tells a client's broadcast to the others.
    pub(super) fn broadcast(&mut self, frame: &Frame, message: hub::Message) {
        let Some(channel) = self.channels.get(&frame.topic) else {
            return self.send(&frame.reply("error", &json!({"reason": "unmatched topic"})));
        };
        let except = (!channel.hears_itself).then_some(self.number);
        let acknowledges = channel.acknowledges;
        self.shared.hub.tell(&frame.topic, except, message);
        if acknowledges {
            self.send(&frame.reply("ok", &json!({})));
        }
    }

    /// Makes the client present, or ends its presence.
    pub(super) fn presence(&mut self, frame: &Frame) {
        let Some(channel) = self.channels.get_mut(&frame.topic) else { return };
        let told = frame.payload.get("payload").cloned().unwrap_or_else(|| json!({}));
        let event = frame.payload.get("event").and_then(Value::as_str).map(str::to_ascii_lowercase);
        let difference = match event.as_deref() {
            Some("track") if !told.is_object() => {
                let reason = json!({"reason": "Presence track payload must be a map"});
                return self.send(&frame.reply("error", &reason));
            }
            Some("track") => {
                channel.watches_presence = true;
                let key = channel.presence_key.clone();
                self.shared.hub.presences(|presences| presences.track(&frame.topic, &key, self.number, &told))
            }
            Some("untrack") => {
                let key = channel.presence_key.clone();
                self.shared.hub.presences(|presences| presences.untrack(&frame.topic, &key, self.number))
            }
            Some(_) => return self.send(&frame.reply("error", &json!({}))),
            None => None,
        };
        if let Some(difference) = difference {
            self.shared.hub.tell(&frame.topic, None, hub::Message::Presence(difference));
        }
        self.send(&frame.reply("ok", &json!({})));
    }

    /// Sends what another socket tells.
    pub(super) fn pass_on(&mut self, told: &Told) {
        let Some(channel) = self.channels.get(&told.topic).filter(|_| told.except != Some(self.number))
        else {
            return;
        };
        match &told.message {
            hub::Message::Broadcast(payload) => {
                self.send(&Frame::fan_out(&told.topic, "broadcast", payload.clone()));
            }
            hub::Message::User(broadcast) if self.framing == Framing::Arrays => {
                self.outbox.extend(broadcast.encode().map(|bytes| Message::Binary(bytes.into())));
            }
            hub::Message::User(broadcast) => {
                if let Some(payload) = broadcast.object() {
                    self.send(&Frame::fan_out(&told.topic, "broadcast", payload));
                }
            }
            hub::Message::Presence(difference) if channel.watches_presence => {
                self.send(&Frame::fan_out(&told.topic, "presence_diff", difference.clone()));
            }
            hub::Message::Presence(_) => {}
        }
    }

    /// Ends the client's presence on a topic.
    pub(super) fn absent(&self, topic: &str, channel: &Channel) {
        let left = self
            .shared
            .hub
            .presences(|presences| presences.untrack(topic, &channel.presence_key, self.number));
        if let Some(difference) = left {
            self.shared.hub.tell(topic, Some(self.number), hub::Message::Presence(difference));
        }
    }
}
