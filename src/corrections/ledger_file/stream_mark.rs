//! Part of a stream that was read, and how to recognize it.
//!
//! A stream may be another one under the same name: deleted and made anew, or restored from a backup and
//! filled with other messages. So a mark has the time of one of the last messages that were read.

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::broker::{BrokerError, timestamp};

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
        let info = info(stream).await?;
        let mark = |seen| Self {
            stream: info.config.name.clone(),
            created: info.created.unix_timestamp_nanos(),
            read,
            seen,
        };
        if read == 0 || info.state.messages == 0 {
            return Ok((mark(None), info.state.messages));
        }
        let first = info.state.first_sequence;
        let last = (first.max(read.saturating_sub(TRIES) + 1)..=read).rev();
        // All of the last messages may have been deleted. The first one of a stream is there.
        for sequence in last.chain([first]) {
            if let Some(stored) = stored_at(stream, sequence).await? {
                return Ok((mark(Some((sequence, stored))), info.state.messages));
            }
        }
        Ok((mark(None), info.state.messages))
    }

    /// Returns the number of messages of a stream if it is the one that was read.
    pub(super) async fn is_of(&self, stream: &Stream) -> Result<Option<u64>, BrokerError> {
        let info = info(stream).await?;
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

async fn info(stream: &Stream) -> Result<async_nats::jetstream::stream::Info, BrokerError> {
    stream.get_info().await.map_err(BrokerError::request("asking for a stream's state"))
}

/// Returns the time at which a message was stored; `None` when there is no such message.
async fn stored_at(stream: &Stream, sequence: u64) -> Result<Option<Timestamp>, BrokerError> {
    match stream.direct_get(sequence).await {
        Ok(message) => Ok(Some(timestamp(message.time.unix_timestamp_nanos()))),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(BrokerError::request("asking for a message of the ledger")(error)),
    }
}
