//! Whether row changes can be subscribed to, asked once: what a worker finds out at its start, without the worker.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::access::TableAccess;
use super::disconnect_reason::DisconnectReason;
use super::realtime::live;
use super::realtime_event::{Limits, RealtimeEvent};

/// Subscribes to the table's row changes as the ingest does, and leaves again.
///
/// # Errors
/// The [`DisconnectReason`] that a worker would meet: [`DisconnectReason::Unpublished`] with the SQL that publishes the table, for instance.
pub async fn subscribes(access: &TableAccess) -> Result<(), DisconnectReason> {
    let (stop, subscribed) = (CancellationToken::new(), AtomicBool::new(false));
    let report = |sign| {
        if sign == RealtimeEvent::Subscribed {
            subscribed.store(true, Ordering::Relaxed);
            stop.cancel();
        }
    };
    let end = live(access, &Limits::default(), &stop, report).await;
    if subscribed.load(Ordering::Relaxed) { Ok(()) } else { Err(end) }
}
