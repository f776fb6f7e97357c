//! Signals that end the program: the first one in an orderly way, a second one at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time in which the same signal again counts as the first one. `timeout` and some service managers
/// send a signal both to the process and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Signals that end the program. A terminal that is closed sends SIGHUP.
const KINDS: [fn() -> SignalKind; 3] = [SignalKind::terminate, SignalKind::interrupt, SignalKind::hangup];

/// Returns a task that cancels `stop` on the first signal, and `at_once` on a second one.
///
/// The call itself registers the handlers: a signal during the start must not end this process by
/// default, because that would leave nats-server running. For the same reason a second signal does
/// not exit here: `main` drops everything first, which kills nats-server.
pub(super) fn stop_on_signal(
    stop: CancellationToken,
    at_once: CancellationToken,
) -> impl Future<Output = ()> {
    let handlers: std::io::Result<Vec<Signal>> = KINDS.iter().map(|kind| signal(kind())).collect();
    async move {
        let mut handlers = match handlers {
            Ok(handlers) => handlers,
            Err(error) => {
                tracing::error!(%error, "signals can't be watched");
                return;
            }
        };
        let first = next(&mut handlers).await;
        let received = Instant::now();
        tracing::info!("stopping; a second signal ends at once");
        stop.cancel();
        loop {
            let second = next(&mut handlers).await;
            if second != first || received.elapsed() >= SAME_SIGNAL {
                at_once.cancel();
            }
        }
    }
}

/// Waits for the next signal, and returns its place among the kinds.
async fn next(handlers: &mut [Signal]) -> usize {
    let received = handlers.iter_mut().map(|handler| Box::pin(handler.recv()));
    let (_, place, _) = futures::future::select_all(received).await;
    place
}
