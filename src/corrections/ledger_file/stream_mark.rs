//! Part of a stream that was read, and how to recognize it.
//!
//! A stream may be another one under the same name: deleted and made anew, or restored from a backup and
//! filled with other messages. So a mark has the time of one of the last messages that were read.

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::broker::{BrokerError, stream_info, timestamp};

/// Largest number of sequences that are tried for a message that was not deleted.
const TRIES: u64 = 64;

/// Part of a stream that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamMark {
    pub(super) stream: String,
    /// Time at which the stream was created, in nanoseconds since 1970.
    pub(super) created: i128,
    /// Sequence up to which the stream was read.
    pub(super) read: u64,
    /// Sequence of one of the last messages that were read, and the time at which it was stored. `None` for
    /// a stream without messages.
    pub(super) seen: Option<(u64, Timestamp)>,
}

impl StreamMark {
    /// Returns the mark of a stream that was read up to this sequence, and the stream's number of messages.
    pub(super) async fn of(stream: &Stream, read: u64) -> Result<(Self, u64), BrokerError> {
        let info = stream_info(stream).await?;
        let (messages, first) = (info.state.messages, info.state.first_sequence);
        let mut seen = None;
        if read > 0 && messages > 0 {
            let last = (first.max(read.saturating_sub(TRIES) + 1)..=read).rev();
            // All of the last messages may have been deleted. The first one of a stream is there.
            for sequence in last.chain([first]) {
                if let Some(stored) = stored_at(stream, sequence).await? {
                    seen = Some((sequence, stored));
                    break;
                }
            }
        }
        let created = info.created.unix_timestamp_nanos();
        Ok((Self { stream: info.config.name, created, read, seen }, messages))
    }

    /// Returns the number of messages of a stream if it is the one that was read.
    pub(super) async fn is_of(&self, stream: &Stream) -> Result<Option<u64>, BrokerError> {
        let info = stream_info(stream).await?;
        let same = info.config.name == self.stream
            && info.created.unix_timestamp_nanos() == self.created
            && info.state.last_sequence >= self.read;
        let same = match self.seen {
            Some((sequence, at)) if same => stored_at(stream, sequence).await? == Some(at),
            Some(_) | None => same,
        };
        Ok(same.then_some(info.state.messages))
    }
}

/// Returns the time at which a message was stored; `None` when there is no such message.
async fn stored_at(stream: &Stream, sequence: u64) -> Result<Option<Timestamp>, BrokerError> {
    match stream.direct_get(sequence).await {
        Ok(message) => Ok(Some(timestamp(message.time.unix_timestamp_nanos()))),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(BrokerError::request("asking for a message of the ledger")(error)),
    }
}
