//! Signals that end the program: the first one in an orderly way, a second one at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Time in which the same signal again counts as the first one. `timeout` and some service managers
/// send a signal both to the process and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Signals that end the program. A terminal that is closed sends SIGHUP.
const KINDS: [fn() -> SignalKind; 3] = [SignalKind::terminate, SignalKind::interrupt, SignalKind::hangup];

/// Handlers of the signals that end the program. While they live, no signal ends it by default.
pub(super) struct Signals(Vec<Signal>);

impl Signals {
    /// Registers the handlers.
    pub(super) fn register() -> io::Result<Self> {
        KINDS.iter().map(|kind| signal(kind())).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for the next signal, and returns its place among the kinds.
    pub(super) async fn next(&mut self) -> usize {
        let received = self.0.iter_mut().map(|handler| Box::pin(handler.recv()));
        let (_, place, _) = futures::future::select_all(received).await;
        place
    }
}

/// Watches for signals: the first one cancels the returned token, and a second one `at_once`. Dropping
/// the handle ends the watch.
///
/// The call itself registers the handlers: a signal during the start must not end this process by
/// default, because that would leave nats-server running. For the same reason a second signal does
/// not exit here: `main` drops everything first, which kills nats-server.
pub(super) fn stop_on_signal(at_once: CancellationToken) -> (CancellationToken, AbortOnDropHandle<()>) {
    let (signals, stop) = (Signals::register(), CancellationToken::new());
    let watch = watch(signals, stop.clone(), at_once);
    (stop, AbortOnDropHandle::new(tokio::spawn(watch)))
}

async fn watch(signals: io::Result<Signals>, stop: CancellationToken, at_once: CancellationToken) {
    let mut signals = match signals {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "signals can't be watched");
            return;
        }
    };
    let first = signals.next().await;
    let received = Instant::now();
    tracing::info!("stopping; a second signal ends at once");
    stop.cancel();
    loop {
        let second = signals.next().await;
        if second != first || received.elapsed() >= SAME_SIGNAL {
            at_once.cancel();
        }
    }
}
