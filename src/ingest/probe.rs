//! Subscriptions without a worker: the answer that a worker gets at its start, and the rows that it
//! would be shown.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::access::{Malformed, TableAccess};
use super::disconnect_reason::DisconnectReason;
use super::realtime::run_session;
use super::realtime_event::{RealtimeDeadlines, RealtimeEvent};
use crate::row_identity::RowId;

/// Something that a subscription shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Rows are shown from now on.
    Subscribed,
    /// The row with this id was inserted.
    Inserted(RowId),
}

/// Subscribes to the table's row changes as the ingest does, and reports inserted rows until `stop`.
/// Returns the reason for the end.
pub async fn watch_inserts(
    access: &TableAccess,
    stop: &CancellationToken,
    mut report: impl FnMut(Notice) + Send,
) -> DisconnectReason {
    let report = |event| match event {
        RealtimeEvent::Subscribed => report(Notice::Subscribed),
        RealtimeEvent::Row(row) => report(Notice::Inserted(row.row_id())),
        RealtimeEvent::Partial(id) | RealtimeEvent::Malformed(Malformed { id: Some(id) }) => {
            report(Notice::Inserted(id));
        }
        RealtimeEvent::Malformed(Malformed { id: None })
        | RealtimeEvent::Changed(_)
        | RealtimeEvent::Deleted(_)
        | RealtimeEvent::Gap => {}
    };
    run_session(access, &RealtimeDeadlines::default(), stop, report).await
}

/// Subscribes to the table's row changes as the ingest does, and disconnects.
///
/// # Errors
/// The [`DisconnectReason`] that a worker would get, for instance [`DisconnectReason::Unpublished`]
/// with the SQL that publishes the table.
pub async fn subscribes(access: &TableAccess) -> Result<(), DisconnectReason> {
    let (stop, subscribed) = (CancellationToken::new(), AtomicBool::new(false));
    let report = |event| {
        if event == RealtimeEvent::Subscribed {
            subscribed.store(true, Ordering::Relaxed);
            stop.cancel();
        }
    };
    let reason = run_session(access, &RealtimeDeadlines::default(), &stop, report).await;
    if subscribed.load(Ordering::Relaxed) { Ok(()) } else { Err(reason) }
}
