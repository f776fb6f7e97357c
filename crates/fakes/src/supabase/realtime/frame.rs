//! Phoenix frames in both framings: version 1 (objects) and version 2 (arrays).

use serde_json::{Value, json};

/// Framing of a socket, chosen by `vsn` in its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// `{"topic", "event", "payload", "ref", "join_ref"}`. The server omits `join_ref`.
    Objects,
    /// `[join_ref, ref, topic, event, payload]`.
    Arrays,
}

/// One message on the socket.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    pub(super) join_ref: Value,
    pub(super) reference: Value,
    pub(super) topic: String,
    pub(super) event: String,
    pub(super) payload: Value,
}

impl Framing {
    /// Returns the framing that `vsn` asks for; version 1 when absent.
    pub(super) fn of_version(vsn: Option<&str>) -> Self {
        if vsn.is_some_and(|vsn| vsn.starts_with('2')) { Self::Arrays } else { Self::Objects }
    }

    /// Parses a client's frame. Returns `None` for a frame that the real server drops silently,
    /// such as a version 1 object without the key `ref`.
    pub(super) fn decode(self, text: &str) -> Option<Frame> {
        match (self, serde_json::from_str(text).ok()?) {
            (Self::Objects, Value::Object(mut object)) => Some(Frame {
                reference: object.remove("ref")?,
                join_ref: object.remove("join_ref").unwrap_or_default(),
                topic: object.get("topic")?.as_str()?.to_owned(),
                event: object.get("event")?.as_str()?.to_owned(),
                payload: object.remove("payload")?,
            }),
            (Self::Arrays, Value::Array(mut items)) => {
                items.truncate(5);
                let [join_ref, reference, topic, event, payload] = <[Value; 5]>::try_from(items).ok()?;
                let (topic, event) = (topic.as_str()?.to_owned(), event.as_str()?.to_owned());
                Some(Frame { join_ref, reference, topic, event, payload })
            }
            _ => None,
        }
    }

    /// Serializes a server's frame.
    pub(super) fn encode(self, frame: &Frame) -> String {
        let Frame { join_ref, reference, topic, event, payload } = frame;
        match self {
            Self::Objects => {
                json!({"topic": topic, "event": event, "payload": payload, "ref": reference}).to_string()
            }
            Self::Arrays => json!([join_ref, reference, topic, event, payload]).to_string(),
        }
    }
}

/// A broadcast that a client sends as a binary frame, as those of JavaScript do with the second framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserBroadcast {
    pub(super) topic: String,
    event: String,
    metadata: Vec<u8>,
    /// True when the payload is JSON.
    json: bool,
    payload: Vec<u8>,
}

impl UserBroadcast {
    /// Parses a client's frame. Returns the broadcast and the frame to reply to.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, Frame)> {
        let ([3, sizes @ .., encoding], mut rest) = bytes.split_first_chunk::<7>()? else { return None };
        let mut parts = Vec::new();
        for size in sizes {
            let (part, after) = rest.split_at_checked(usize::from(*size))?;
            parts.push(part);
            rest = after;
        }
        let text = |place: usize| std::str::from_utf8(parts[place]).ok().map(str::to_owned);
        let reference = |text: String| if text.is_empty() { Value::Null } else { text.into() };
        let topic = text(2)?;
        let frame = Frame {
            join_ref: reference(text(0)?),
            reference: reference(text(1)?),
            topic: topic.clone(),
            event: "broadcast".to_owned(),
            payload: Value::Null,
        };
        let broadcast = Self {
            topic,
            event: text(3)?,
            metadata: parts[4].to_vec(),
            json: *encoding != 0,
            payload: rest.to_vec(),
        };
        Some((broadcast, frame))
    }

    /// Returns the server's binary frame, or `None` when a part is too long for it.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let size = |bytes: &[u8]| u8::try_from(bytes.len()).ok();
        let (topic, event) = (self.topic.as_bytes(), self.event.as_bytes());
        let mut bytes = vec![4, size(topic)?, size(event)?, size(&self.metadata)?, u8::from(self.json)];
        for part in [topic, event, &self.metadata, &self.payload] {
            bytes.extend_from_slice(part);
        }
        Some(bytes)
    }

    /// Returns the payload that a client with the first framing gets, or `None` when it is no JSON.
    pub(super) fn object(&self) -> Option<Value> {
        let payload: Value = serde_json::from_slice(&self.payload).ok().filter(|_| self.json)?;
        Some(json!({"type": "broadcast", "event": self.event, "payload": payload}))
    }
}

impl Frame {
    /// Returns a message for all channels of a topic, which is not of one join.
    pub(super) fn fan_out(topic: &str, event: &str, payload: Value) -> Self {
        Self::push(&Value::Null, topic, event, payload)
    }

    /// Returns a message that the server sends unasked on a channel.
    pub(super) fn push(join_ref: &Value, topic: &str, event: &str, payload: Value) -> Self {
        Self {
            join_ref: join_ref.clone(),
            reference: Value::Null,
            topic: topic.to_owned(),
            event: event.to_owned(),
            payload,
        }
    }

    /// Returns the reply to this frame.
    pub(super) fn reply(&self, status: &str, response: &Value) -> Self {
        Self {
            event: "phx_reply".to_owned(),
            payload: json!({"status": status, "response": response}),
            join_ref: self.join_ref.clone(),
            reference: self.reference.clone(),
            topic: self.topic.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_object_without_ref_is_dropped() {
        let text = r#"{"topic":"phoenix","event":"heartbeat","payload":{}}"#;
        assert_eq!(Framing::Objects.decode(text), None);
    }

    #[test]
    fn arrays_keep_their_order() {
        let text = r#"["1","2","realtime:a","phx_join",{}]"#;
        let frame = Framing::Arrays.decode(text).expect("a good frame");
        assert_eq!((frame.join_ref.as_str(), frame.reference.as_str()), (Some("1"), Some("2")));
        assert_eq!(Framing::Arrays.encode(&frame), text);
    }

    #[test]
    fn a_binary_broadcast_is_passed_on() {
        let mut bytes = vec![3, 1, 2, 10, 4, 0, 1];
        bytes.extend_from_slice(b"112realtime:achat{\"a\":1}");
        let (broadcast, frame) = UserBroadcast::decode(&bytes).expect("a broadcast");
        assert_eq!((frame.join_ref, frame.reference), ("1".into(), "12".into()));
        assert_eq!(
            broadcast.object(),
            Some(json!({"type": "broadcast", "event": "chat", "payload": {"a": 1}}))
        );
        let encoded = broadcast.encode().expect("short parts");
        assert_eq!(encoded, [&[4, 10, 4, 0, 1][..], b"realtime:achat{\"a\":1}"].concat());
        assert!(UserBroadcast::decode(&bytes[..12]).is_none());
    }

    proptest! {
        #[test]
        fn any_binary_is_read_without_panic(bytes: Vec<u8>) {
            let _ = UserBroadcast::decode(&bytes);
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}") {
            let _ = Framing::Objects.decode(&text);
            let _ = Framing::Arrays.decode(&text);
        }
    }
}
