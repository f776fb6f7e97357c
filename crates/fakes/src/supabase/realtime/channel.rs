//! A joined channel, and the tokens that it may have.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::Shared;
use super::super::keys::{Role, is_opaque};
use super::super::token::{Claims, TokenError};
use super::binding::Binding;
use super::frame::Frame;

/// A joined channel of one socket.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) join_ref: Value,
    /// Token that authenticates the channel: its own, or the connection's key.
    pub(super) token: String,
    pub(super) access: Access,
    pub(super) bindings: Vec<Binding>,
    pub(super) stage: Stage,
    /// True when the client gets its own broadcasts.
    pub(super) hears_itself: bool,
    /// True when broadcasts are acknowledged.
    pub(super) acknowledges: bool,
    /// True when the client is told who is present.
    pub(super) watches_presence: bool,
    /// Name under which the client is present.
    pub(super) presence_key: String,
}

/// State of a channel's subscription to row changes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// The channel has joined, and `Subscribed to PostgreSQL` follows at this time.
    Subscribing { ready: Instant },
    /// The channel receives rows from this position of the commit log on.
    Live { position: usize },
    /// The channel receives no rows: it joined without row changes, or its subscription failed. The
    /// server doesn't try again.
    Deaf,
}

/// Rights that a token grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) role: Role,
    /// Time at which the token expires, in seconds since 1970.
    expiry: Option<i64>,
}

/// Reason why a token is refused: the server's code for it, and its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unauthorized {
    pub(super) code: &'static str,
    pub(super) text: String,
}

impl Access {
    /// Judges a key or token.
    pub(super) fn of(shared: &Shared, token: &str) -> Result<Self, Unauthorized> {
        if is_opaque(token)
            && let Some((_, role)) = shared.keys.find(token)
        {
            return Ok(Self { role, expiry: None });
        }
        let refused = |code, text: &str| Unauthorized { code, text: text.to_owned() };
        let claims = Claims::read(token).map_err(|error| match error {
            TokenError::Parts(_) | TokenError::Malformed => {
                refused("MalformedJWT", "The token provided is not a valid JWT")
            }
            TokenError::Signature => refused("JwtSignatureError", "Failed to validate JWT signature"),
        })?;
        let missing = || refused("InvalidJWTToken", "Fields `role` and `exp` are required in JWT");
        let expiry = claims.expiry().ok_or_else(missing)?;
        let role = claims.role().ok_or_else(missing)?;
        let access = Self { role: Role::named(role).unwrap_or(Role::Anon), expiry: Some(expiry) };
        match access.expired() {
            Some(text) => Err(refused("InvalidJWTToken", &text)),
            None => Ok(access),
        }
    }

    /// Returns the server's sentence about a token that has expired.
    pub(super) fn expired(self) -> Option<String> {
        let since = Timestamp::now().as_second() - self.expiry?;
        (since >= 0).then(|| format!("Token has expired {since} seconds ago"))
    }
}

impl Channel {
    /// Returns a `phx_close` frame with the reference of this channel's join.
    pub(super) fn closed(&self, topic: &str) -> Frame {
        let mut frame = Frame::push(&self.join_ref, topic, "phx_close", json!({}));
        frame.reference = self.join_ref.clone();
        frame
    }

    /// Returns a `system` frame on this channel. Its `channel` is the topic without the prefix
    /// `realtime:`.
    pub(super) fn system(&self, topic: &str, extension: &str, status: &str, message: &str) -> Frame {
        let channel = topic.strip_prefix("realtime:").unwrap_or(topic);
        let payload =
            json!({"extension": extension, "status": status, "message": message, "channel": channel});
        Frame::push(&self.join_ref, topic, "system", payload)
    }

    /// Subscribes to the changes that the bindings ask for: to all of them, or with an error to none.
    pub(super) fn subscribe(&mut self, shared: &Shared) -> Result<(), String> {
        self.bindings.iter_mut().try_for_each(|binding| binding.subscribe(shared))
    }
}
