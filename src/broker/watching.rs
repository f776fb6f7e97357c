//! A watch on the broker that goes on through failures and reconnections.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::error::BrokerError;
use crate::failure::chain;
use crate::retry::Backoff;

/// Pauses between a watch that ended and the next one.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
/// Lifetime of a watch after which the next failure counts as the first one.
const STEADY: Duration = Duration::from_secs(10);

/// Starts a watch again and again until cancelled: at once after a reconnection, because notices
/// and answers are lost with their connection, and after a growing pause when the watch ends. Logs
/// errors under the sentence `trouble`. A watch may be dropped at any await.
pub(crate) async fn keep_watching<W>(
    connection: &Connection,
    cancel: &CancellationToken,
    trouble: &'static str,
    watch: impl Fn() -> W,
) where
    W: Future<Output = Result<(), BrokerError>>,
{
    let mut failures = BACKOFF.start();
    let mut connects = connection.connects();
    while !cancel.is_cancelled() {
        let begun = Instant::now();
        let watched = tokio::select! {
            () = cancel.cancelled() => return,
            Ok(()) = connects.changed() => continue,
            watched = watch() => watched,
        };
        if begun.elapsed() >= STEADY {
            failures.reset();
        }
        let pause = failures.next_pause(rand::random());
        if let Err(error) = watched {
            tracing::warn!(error = chain(&error), again_in = ?pause, "{trouble}");
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
