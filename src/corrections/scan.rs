//! One ordered read of a range of a stream.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::stream::Stream;
use futures::StreamExt;

use crate::broker::BrokerError;

/// Time within which the next message must arrive. The ordered consumer recovers from a lost
/// connection by itself.
const NEXT_DEADLINE: Duration = Duration::from_secs(30);

/// Part of each message that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Headers,
    Whole,
}

/// Visits every message with a stream sequence in `from..=to`, in order. Deleted messages are
/// skipped.
pub(super) async fn scan(
    stream: &Stream,
    from: u64,
    to: u64,
    depth: Depth,
    mut visit: impl FnMut(u64, Message),
) -> Result<(), BrokerError> {
    if from > to {
        return Ok(());
    }
    const READING: &str = "reading a stream";
    let consumer = stream
        .create_consumer(OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
            replay_policy: ReplayPolicy::Instant,
            headers_only: depth == Depth::Headers,
            ..OrderedConfig::default()
        })
        .await
        .map_err(BrokerError::request("creating a consumer"))?;
    if consumer.cached_info().num_pending == 0 {
        return Ok(());
    }
    let mut messages = consumer.messages().await.map_err(BrokerError::request(READING))?;
    loop {
        let message = tokio::time::timeout(NEXT_DEADLINE, messages.next())
            .await
            .map_err(|_| BrokerError::TimedOut { what: READING })?;
        let Some(message) = message else { return Ok(()) };
        let message = message.map_err(BrokerError::request(READING))?;
        let (sequence, pending) = match message.info() {
            Ok(info) => (info.stream_sequence, info.pending),
            Err(error) => return Err(BrokerError::request(READING)(error)),
        };
        if sequence > to {
            return Ok(());
        }
        visit(sequence, message);
        if sequence == to || pending == 0 {
            return Ok(());
        }
    }
}
