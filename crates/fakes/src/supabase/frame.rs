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
            (Self::Arrays, Value::Array(items)) => {
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

impl Frame {
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

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}") {
            let _ = Framing::Objects.decode(&text);
            let _ = Framing::Arrays.decode(&text);
        }
    }
}
