//! Reasons why a Realtime session ended.

use std::time::Duration;

use supabase_realtime_rs::RealtimeError;

use super::access::{AccessError, TableAccess};
use super::sql;
use crate::failure::{Failure, RetryDirective};

/// Wait after a rate limit, the same as in the official clients.
const RATE_LIMITED: Duration = Duration::from_secs(30);

/// Reason why a Realtime session ended. Every end is a gap that a sweep closes.
#[derive(Debug, thiserror::Error)]
pub enum DisconnectReason {
    /// The worker is stopping.
    #[error("stopped")]
    Stopped,
    /// The settings hold no usable address or key.
    #[error(transparent)]
    TableAccess(#[from] AccessError),
    /// The connection can't be opened.
    #[error("the websocket can't be opened")]
    Connect(#[source] RealtimeError),
    /// The server answered the websocket upgrade with an HTTP status other than 101.
    #[error("the websocket is refused (HTTP {status})")]
    Upgrade {
        /// HTTP status.
        status: u16,
    },
    /// A step did not complete within its deadline.
    #[error("no {step} within {limit:?}")]
    Deadline {
        /// Step that was awaited.
        step: ProtocolStep,
        /// Deadline of the step.
        limit: Duration,
    },
    /// A frame can't be sent.
    #[error("a frame can't be sent")]
    Send(#[source] RealtimeError),
    /// The server refused the join.
    #[error("the join is refused ({code})")]
    Refused {
        /// The server's code, such as `InvalidJWTToken`.
        code: String,
    },
    /// The reply to the join names other changes than the worker asked for.
    #[error("the reply to the join names other changes than were asked for")]
    Mismatch,
    /// The server can't subscribe to the table: the table is not in the publication, or a column is
    /// wrong.
    #[error("row changes of the table can't be subscribed to")]
    Unpublished {
        /// SQL that publishes the table.
        sql: String,
    },
    /// The server dropped the channel: the token expired, rights were lost, or there were too many
    /// messages.
    #[error("the server dropped the channel ({code})")]
    Evicted {
        /// First three words of the server's message, which come before any number in it.
        code: String,
    },
    /// A frame is not a Phoenix message.
    #[error("a frame can't be read")]
    Unreadable,
    /// The server closed the channel (`phx_close`).
    #[error("the channel was closed")]
    ChannelClosed,
    /// The channel crashed on the server (`phx_error`).
    #[error("the channel crashed")]
    ChannelCrashed,
    /// The socket was closed or lost.
    #[error("the socket was closed (code {code:?})")]
    SocketClosed {
        /// Code of the close frame, when there was one.
        code: Option<u16>,
    },
    /// The socket failed.
    #[error("the socket failed")]
    Socket(#[source] tungstenite::Error),
    /// The connection reached the age at which the worker replaces it.
    #[error("the connection reached its maximum age and is replaced")]
    Aged,
}

/// Step that a session waits for, in protocol order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum ProtocolStep {
    /// Opening of the websocket.
    #[strum(serialize = "connection")]
    Connection,
    /// Sending of a frame.
    #[strum(serialize = "completed write")]
    Write,
    /// Reply to the join.
    #[strum(serialize = "reply to the join")]
    JoinReply,
    /// Message `Subscribed to PostgreSQL`.
    #[strum(serialize = "subscription")]
    Subscription,
    /// Reply to a heartbeat.
    #[strum(serialize = "reply to the heartbeat")]
    HeartbeatReply,
}

impl DisconnectReason {
    pub(super) fn of_connect(error: RealtimeError) -> Self {
        match error {
            RealtimeError::WebSocket(tungstenite::Error::Http(response)) => {
                Self::Upgrade { status: response.status().as_u16() }
            }
            error => Self::Connect(error),
        }
    }

    /// Returns the reason for a refused join from the server's text `<Code>: <text>`. Keeps the
    /// code only: the text may quote a token.
    pub(super) fn of_reason(reason: &str) -> Self {
        Self::Refused { code: log_safe(reason.split(':').next().unwrap_or_default()) }
    }

    /// Returns the reason for a `system` error of the channel itself.
    pub(super) fn of_eviction(message: &str) -> Self {
        let words: Vec<_> = message.split_whitespace().take(3).collect();
        Self::Evicted { code: log_safe(&words.join(" ")) }
    }

    pub(super) fn unpublished(access: &TableAccess) -> Self {
        Self::Unpublished { sql: sql::publication(access) }
    }

    /// Returns the wait that the server's answer implies, beyond the usual backoff.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let limited = match self {
            Self::Upgrade { status } => *status == 429,
            Self::Refused { code } => code.ends_with("RateLimitReached"),
            Self::Evicted { code } => code.starts_with("Too many"),
            Self::TableAccess(_)
            | Self::Mismatch
            | Self::Unpublished { .. }
            | Self::Stopped
            | Self::Connect(_)
            | Self::Deadline { .. }
            | Self::Send(_)
            | Self::Unreadable
            | Self::ChannelClosed
            | Self::ChannelCrashed
            | Self::SocketClosed { .. }
            | Self::Socket(_)
            | Self::Aged => false,
        };
        limited.then_some(RATE_LIMITED)
    }
}

/// Makes text from outside safe for a log: at most 64 plain characters.
fn log_safe(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-')).take(64).collect()
}

impl Failure for DisconnectReason {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::TableAccess(_) | Self::Mismatch | Self::Unpublished { .. } => RetryDirective::Person,
            Self::Upgrade { status } => match status {
                401 | 403 | 404 => RetryDirective::Person,
                // Any other status is a temporary failure of the gateway.
                0..=400 | 402 | 405.. => RetryDirective::Retry,
            },
            Self::Refused { code } => match code.as_str() {
                "InvalidJWTToken"
                | "InvalidJWTExpiration"
                | "MalformedJWT"
                | "JwtSignatureError"
                | "JwtSignerError"
                | "Unauthorized"
                | "TopicNameRequired"
                | "TenantNotFound"
                | "RealtimeDisabledForTenant"
                | "PrivateOnly" => RetryDirective::Person,
                // The server may add codes at any time. A retry is harmless for an unknown one.
                _other => RetryDirective::Retry,
            },
            Self::Stopped
            | Self::Connect(_)
            | Self::Deadline { .. }
            | Self::Send(_)
            | Self::Evicted { .. }
            | Self::Unreadable
            | Self::ChannelClosed
            | Self::ChannelCrashed
            | Self::SocketClosed { .. }
            | Self::Socket(_)
            | Self::Aged => RetryDirective::Retry,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::TableAccess(error) => error.advice(),
            Self::Unpublished { sql } => format!("Publish the table; run in the SQL editor:\n{sql}"),
            Self::Upgrade { status: 401 | 403 } => {
                "Check the key against Project Settings > API Keys, and that Realtime is enabled.".to_owned()
            }
            Self::Upgrade { status: 404 } => {
                "Check SUPABASE_URL: no Realtime service answers there.".to_owned()
            }
            Self::Refused { .. } if self.directive() == RetryDirective::Person => {
                "Check the key and the project's Realtime settings (public channels must be allowed)."
                    .to_owned()
            }
            Self::Mismatch => "Check the names of schema and table in the settings.".to_owned(),
            Self::Evicted { .. } => "Check whether the key has expired or was replaced.".to_owned(),
            Self::Stopped
            | Self::Connect(_)
            | Self::Upgrade { .. }
            | Self::Deadline { .. }
            | Self::Send(_)
            | Self::Refused { .. }
            | Self::Unreadable
            | Self::ChannelClosed
            | Self::ChannelCrashed
            | Self::SocketClosed { .. }
            | Self::Socket(_)
            | Self::Aged => {
                "Nothing to do: the worker connects again, and sweeps the table meanwhile.".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_keep_their_code_and_drop_their_text() {
        let reason = DisconnectReason::of_reason("InvalidJWTToken: Token eyJabc.def has expired");
        assert!(matches!(&reason, DisconnectReason::Refused { code } if code == "InvalidJWTToken"));
        assert_eq!(reason.directive(), RetryDirective::Person);
        let reason = DisconnectReason::of_reason("ClientJoinRateLimitReached: Too many joins");
        assert_eq!((reason.directive(), reason.retry_after()), (RetryDirective::Retry, Some(RATE_LIMITED)));
        assert_eq!(
            DisconnectReason::of_eviction("Too many messages per second").retry_after(),
            Some(RATE_LIMITED)
        );
    }
}
