//! One-time check that row changes can be subscribed to: the answer that a worker gets at its
//! start, without a worker.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::access::TableAccess;
use super::disconnect_reason::DisconnectReason;
use super::realtime::run_session;
use super::realtime_event::{RealtimeDeadlines, RealtimeEvent};

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
