//! Why a generation of the Realtime connection ended.

use std::time::Duration;

use supabase_realtime_rs::RealtimeError;

use super::access::{AccessError, TableAccess};
use super::sql;
use crate::failure::{Failure, RetryDirective};

/// The wait after a rate limit, as the official clients take it.
const RATE_LIMITED: Duration = Duration::from_secs(30);

/// How a generation ended. Every end is a gap that a sweep closes.
#[derive(Debug, thiserror::Error)]
pub enum DisconnectReason {
    /// The worker is stopping.
    #[error("stopped")]
    Stopped,
    /// The settings make no address.
    #[error(transparent)]
    TableAccess(#[from] AccessError),
    /// The connection can't be opened.
    #[error("the websocket can't be opened")]
    Connect(#[source] RealtimeError),
    /// The server answered the upgrade with another HTTP status.
    #[error("the websocket is refused (HTTP {status})")]
    Upgrade {
        /// HTTP status.
        status: u16,
    },
    /// Nothing happened within the deadline of this step.
    #[error("no {step} within {limit:?}")]
    Deadline {
        /// What was waited for.
        step: Step,
        /// How long.
        limit: Duration,
    },
    /// A frame can't be sent.
    #[error("a frame can't be sent")]
    Send(#[source] RealtimeError),
    /// The join was refused.
    #[error("the join is refused ({code})")]
    Refused {
        /// The server's code, such as `InvalidJWTToken`.
        code: String,
    },
    /// The server echoed other changes than were asked for.
    #[error("the join's reply is about other changes")]
    Mismatch,
    /// The table can't be subscribed to: it is not in the publication, or a column is wrong.
    #[error("row changes of the table can't be subscribed to")]
    Unpublished {
        /// SQL that publishes the table.
        sql: String,
    },
    /// The server gave the channel up: expired token, lost rights, too many messages.
    #[error("the server gave the channel up ({code})")]
    Evicted {
        /// The first words of its message, without the numbers.
        code: String,
    },
    /// A frame is no Phoenix message.
    #[error("a frame can't be read")]
    Unreadable,
    /// `phx_close`.
    #[error("the channel was closed")]
    ChannelClosed,
    /// `phx_error`.
    #[error("the channel crashed")]
    ChannelCrashed,
    /// The socket was closed or lost.
    #[error("the socket was closed (code {code:?})")]
    SocketClosed {
        /// The close frame's code, when there was one.
        code: Option<u16>,
    },
    /// The socket broke.
    #[error("the socket broke")]
    Socket(#[source] tungstenite::Error),
    /// The connection reached the age at which the worker replaces it by itself.
    #[error("the connection is old and is replaced")]
    Aged,
}

/// What a generation waits for, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The websocket.
    Connection,
    /// A frame on its way out.
    Write,
    /// The join's reply.
    JoinReply,
    /// `Subscribed to PostgreSQL`.
    Subscription,
    /// A heartbeat's reply.
    HeartbeatReply,
}

impl std::fmt::Display for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Connection => "connection",
            Self::Write => "completed write",
            Self::JoinReply => "reply to the join",
            Self::Subscription => "subscription",
            Self::HeartbeatReply => "reply to the heartbeat",
        })
    }
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

    /// A refused join's reason, `<Code>: <text>`. Only the code is kept: the text may quote a token.
    pub(super) fn of_reason(reason: &str) -> Self {
        Self::Refused { code: word(reason.split(':').next().unwrap_or_default()) }
    }

    /// A `system` error of the channel itself.
    pub(super) fn of_eviction(message: &str) -> Self {
        let words: Vec<_> = message.split_whitespace().take(3).collect();
        Self::Evicted { code: word(&words.join(" ")) }
    }

    pub(super) fn unpublished(access: &TableAccess) -> Self {
        Self::Unpublished { sql: sql::publication(access) }
    }

    /// The wait the server's answer implies, beyond the usual backoff.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let limited = match self {
            Self::Upgrade { status } => *status == 429,
            Self::Refused { code } => code.ends_with("RateLimitReached"),
            Self::Evicted { code } => code.starts_with("Too many"),
            _ => false,
        };
        limited.then_some(RATE_LIMITED)
    }
}

/// What comes from outside and goes into a log: short and plain.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-')).take(64).collect()
}

impl Failure for DisconnectReason {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::TableAccess(_) | Self::Mismatch | Self::Unpublished { .. } => RetryDirective::Person,
            Self::Upgrade { status } => match status {
                401 | 403 | 404 => RetryDirective::Person,
                _ => RetryDirective::Retry,
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
                _ => RetryDirective::Retry,
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
        let end = DisconnectReason::of_reason("InvalidJWTToken: Token eyJabc.def has expired");
        assert!(matches!(&end, DisconnectReason::Refused { code } if code == "InvalidJWTToken"));
        assert_eq!(end.directive(), RetryDirective::Person);
        let end = DisconnectReason::of_reason("ClientJoinRateLimitReached: Too many joins");
        assert_eq!((end.directive(), end.retry_after()), (RetryDirective::Retry, Some(RATE_LIMITED)));
        assert_eq!(
            DisconnectReason::of_eviction("Too many messages per second").retry_after(),
            Some(RATE_LIMITED)
        );
    }
}
