//! What a generation of the Realtime connection reports while it lives, and the deadlines it holds the server to.

use std::time::Duration;

use super::access::Malformed;
use crate::correction::Row;

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
pub(super) enum RealtimeEvent {
    /// Rows flow from here on; what was committed before may be missing.
    Subscribed,
    /// A row.
    Row(Row),
    /// A row that can't be a pair.
    Malformed(Malformed),
    /// An event that carries a part of the row with this id only.
    Partial(i64),
    /// Something may be missing: sweep.
    Gap,
}
