//! The end of a worker's patience when it stops.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::Connection;

/// Time that the broker may be silent. Without the broker, a job can't be handed back; it is delivered
/// again after the acknowledgement wait in any case.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);
/// Time that the broker has for one answer, and between two questions.
const QUESTION_EVERY: Duration = Duration::from_secs(1);

/// Reason why a stopping worker waits no longer for its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum OutOfPatience {
    /// The stop deadline has passed.
    DeadlinePassed,
    /// The broker is silent.
    BrokerSilent,
}

/// Waits until `stop` is cancelled, and then until the worker should wait no longer for its tasks.
pub(super) async fn out_of_patience(
    stop: CancellationToken,
    deadline: Duration,
    broker: Connection,
) -> OutOfPatience {
    stop.cancelled().await;
    tokio::select! {
        () = sleep(deadline) => OutOfPatience::DeadlinePassed,
        () = silence(&broker) => OutOfPatience::BrokerSilent,
    }
}

/// Waits until the broker has been silent for [`LONGEST_SILENCE`].
async fn silence(broker: &Connection) {
    let mut heard = Instant::now();
    while heard.elapsed() < LONGEST_SILENCE {
        match timeout(QUESTION_EVERY, broker.answers()).await {
            Ok(true) => {
                heard = Instant::now();
                sleep(QUESTION_EVERY).await;
            }
            // It fails at once when the connection is lost.
            Ok(false) => sleep(QUESTION_EVERY).await,
            Err(_) => {}
        }
    }
}
