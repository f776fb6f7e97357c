//! Events that a Realtime session reports, and the deadlines of a session.

use std::time::Duration;

use super::access::Malformed;
use crate::correction::Row;
use crate::row_identity::RowId;

/// Deadlines of a Realtime session.
#[derive(Debug, Clone)]
pub struct RealtimeDeadlines {
    /// Deadline for opening the websocket. The server answers a refusal after 2 s.
    pub connect: Duration,
    /// Deadline for sending one frame.
    pub write: Duration,
    /// Deadline for the join's reply. The server sends a refusal after 5 s.
    pub join: Duration,
    /// Deadline for `Subscribed to PostgreSQL`, which takes seconds on a cold project.
    pub subscribe: Duration,
    /// Interval between heartbeats; each must be answered before the next. The server closes the
    /// socket after 60 s of silence.
    pub heartbeat: Duration,
    /// Delay between `Subscribed` and a second sweep. After this delay, rows can no longer fall
    /// between the subscription and the replication slot.
    pub settle: Duration,
    /// Age at which the worker replaces the connection; the gateway would end it at 24 h.
    pub age: Duration,
}

impl Default for RealtimeDeadlines {
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

/// Event that a session reports while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RealtimeEvent {
    /// Rows arrive from now on; rows committed before may be missing.
    Subscribed,
    /// An inserted row.
    Row(Row),
    /// A row that cannot become a pair.
    Malformed(Malformed),
    /// The row with this id was updated.
    Changed(RowId),
    /// The row with this id was deleted.
    Deleted(RowId),
    /// An insert that carries only part of the row with this id.
    Partial(RowId),
    /// Rows may be missing, so a sweep is needed.
    Gap,
}
