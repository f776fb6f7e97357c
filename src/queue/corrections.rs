//! The pairs: kept once each, for ever, in order.
//!
//! A row's identity is `<table>:<id>`, its message id. Two things keep a row from being kept twice: the
//! ledger, which knows every id in the streams, and the broker's duplicate window, which covers what two
//! workers publish at the same moment. Before each append the ledger reads the headers of whatever others
//! have stored since, so it needs no background task and is never behind by more than that moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::clock::timestamp;
use super::error::QueueError;
use super::ledger::Ledger;
use super::scan::{Depth, scan};
use super::streams::{CORRECTIONS, QUARANTINE, Streams};
use crate::correction::{Refusal, Row, subject_token};

/// The header of a quarantined row that names its [`Refusal`].
pub const REFUSAL_HEADER: &str = "Refusal";

/// How many publishes wait for their acknowledgement at the same time.
const PUBLISHES_IN_FLIGHT: usize = 512;

/// What became of a batch of rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Rows stored for training.
    pub stored: usize,
    /// Rows that were kept before.
    pub duplicates: usize,
    /// Rows stored in quarantine.
    pub refused: usize,
}

/// The pairs of a stretch of the stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Stream sequence and row, in order of sequence.
    pub rows: Vec<(u64, Row)>,
    /// Messages that hold no row: somebody else published them. They are left out and never fatal.
    pub malformed: usize,
}

/// The pairs that came after some stream sequence.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Arrivals {
    /// How many.
    pub count: u64,
    /// The stream's last sequence, up to which they were counted.
    pub last_sequence: u64,
    /// When the first of them was stored, by the broker's clock.
    pub oldest_at: Option<Timestamp>,
    /// When the last of them was stored, by the broker's clock.
    pub newest_at: Option<Timestamp>,
}

/// The pairs on the broker. Clones share one ledger.
#[derive(Debug, Clone)]
pub struct Corrections {
    streams: Streams,
    table: Arc<str>,
    known: Arc<Mutex<Known>>,
}

/// The ids in both streams, and up to where each stream has been read for them.
#[derive(Debug, Default)]
struct Known {
    ids: Ledger,
    corrections_read: u64,
    quarantine_read: u64,
}

impl Corrections {
    /// Opens the pairs of one table, reading the ids of all rows that are kept already.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::TimedOut`].
    pub async fn open(streams: &Streams, table: &str) -> Result<Self, QueueError> {
        let corrections =
            Self { streams: streams.clone(), table: table.into(), known: Arc::new(Mutex::default()) };
        corrections.catch_up(&mut *corrections.known.lock().await).await?;
        Ok(corrections)
    }

    /// Keeps rows: those that may be trained on, and in quarantine those that may not. Durable when it returns.
    /// After an error some may be kept; appending the same rows again is always safe.
    ///
    /// # Errors
    /// [`QueueError::Publish`], [`QueueError::Request`], [`QueueError::TimedOut`], [`QueueError::Encode`].
    pub async fn append(&self, rows: &[Row]) -> Result<Appended, QueueError> {
        let mut appended = Appended::default();
        if rows.is_empty() {
            return Ok(appended);
        }
        // Held over the whole batch: a row that two tasks bring at once is published once.
        let mut known = self.known.lock().await;
        self.catch_up(&mut known).await?;
        let mut waiting = std::collections::VecDeque::with_capacity(PUBLISHES_IN_FLIGHT);
        let mut sent = Ledger::default();
        for row in rows {
            if known.ids.contains(row.id) || !sent.insert(row.id) {
                appended.duplicates += 1;
                continue;
            }
            if waiting.len() == PUBLISHES_IN_FLIGHT
                && let Some(publish) = waiting.pop_front()
            {
                settle(publish, &mut known, &mut appended).await?;
            }
            waiting.push_back(self.publish(row).await?);
        }
        for publish in waiting {
            settle(publish, &mut known, &mut appended).await?;
        }
        Ok(appended)
    }

    /// The highest id of any row kept, trained on or not: where a sweep of the table goes on.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::TimedOut`].
    pub async fn highest_id(&self) -> Result<Option<i64>, QueueError> {
        let mut known = self.known.lock().await;
        self.catch_up(&mut known).await?;
        Ok(known.ids.highest())
    }

    /// The stream sequence of the last pair; 0 when there never was one.
    ///
    /// # Errors
    /// [`QueueError::Request`].
    pub async fn last_sequence(&self) -> Result<u64, QueueError> {
        last_sequence(&self.streams.corrections).await
    }

    /// How many pairs came after a stream sequence.
    ///
    /// # Errors
    /// [`QueueError::Request`].
    pub async fn count_after(&self, sequence: u64) -> Result<u64, QueueError> {
        Ok(self.arrivals_after(sequence).await?.count)
    }

    /// How many pairs came after a stream sequence, and when the first and the last of them did.
    /// A foreign message on the stream counts like a pair: telling them apart would mean reading them all.
    ///
    /// # Errors
    /// [`QueueError::Request`].
    pub async fn arrivals_after(&self, sequence: u64) -> Result<Arrivals, QueueError> {
        let failed = QueueError::request("asking for a stream's state");
        let stream = &self.streams.corrections;
        let state = stream.get_info().await.map_err(|error| failed(error.into()))?.state;
        let from = sequence.saturating_add(1).max(state.first_sequence);
        if state.messages == 0 || from > state.last_sequence {
            return Ok(Arrivals { last_sequence: state.last_sequence, ..Arrivals::default() });
        }
        let first = match stream.direct_get_next_for_subject("corrections.>", Some(from)).await {
            Ok(first) => first,
            // Whatever came after was deleted by an operator.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {
                return Ok(Arrivals { last_sequence: state.last_sequence, ..Arrivals::default() });
            }
            Err(error) => return Err(QueueError::request("reading the oldest new pair")(error.into())),
        };
        let mut count = state.last_sequence - from + 1;
        if state.deleted_count.is_some_and(|deleted| deleted > 0) {
            // An operator deleted single messages: sequences no longer count them.
            count = 0;
            scan(stream, from, state.last_sequence, Depth::Headers, |_, _| count += 1).await?;
        }
        Ok(Arrivals {
            count,
            last_sequence: state.last_sequence,
            oldest_at: Some(timestamp(first.time.unix_timestamp_nanos())),
            newest_at: Some(timestamp(state.last_timestamp.unix_timestamp_nanos())),
        })
    }

    /// Every pair up to a stream sequence, in order.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::TimedOut`].
    pub async fn snapshot(&self, up_to_sequence: u64) -> Result<Snapshot, QueueError> {
        let to = up_to_sequence.min(self.last_sequence().await?);
        let mut snapshot = Snapshot::default();
        scan(
            &self.streams.corrections,
            1,
            to,
            Depth::Whole,
            |sequence, message| match serde_json::from_slice(&message.payload) {
                Ok(row) => snapshot.rows.push((sequence, row)),
                Err(_) => snapshot.malformed += 1,
            },
        )
        .await?;
        if snapshot.malformed > 0 {
            tracing::warn!(
                count = snapshot.malformed,
                "messages on {CORRECTIONS} hold no row and are left out"
            );
        }
        Ok(snapshot)
    }

    /// How many rows are in quarantine, by reason. Reasons that this version doesn't know are left out.
    ///
    /// # Errors
    /// [`QueueError::Request`].
    pub async fn quarantined_counts(&self) -> Result<BTreeMap<Refusal, u64>, QueueError> {
        let failed = || QueueError::request("counting quarantined rows");
        let subjects = self.streams.quarantine.info_with_subjects("quarantine.>").await;
        subjects
            .map_err(|error| failed()(error.into()))?
            .map_err(|error| failed()(error.into()))
            .try_filter_map(|(subject, count)| async move {
                let reason = subject.strip_prefix("quarantine.").and_then(Refusal::from_name);
                Ok(reason.map(|reason| (reason, count as u64)))
            })
            .try_collect()
            .await
    }

    /// A stream that yields whenever pairs have been stored from now on, once for all that are at hand.
    pub(crate) async fn arrivals(
        &self,
    ) -> Result<impl futures::Stream<Item = Result<(), QueueError>> + Send + use<>, QueueError> {
        let consumer = self
            .streams
            .corrections
            .create_consumer(async_nats::jetstream::consumer::pull::OrderedConfig {
                deliver_policy: async_nats::jetstream::consumer::DeliverPolicy::New,
                headers_only: true,
                ..Default::default()
            })
            .await
            .map_err(|error| QueueError::request("watching for pairs")(error.into()))?;
        let messages = consumer
            .messages()
            .await
            .map_err(|error| QueueError::request("watching for pairs")(error.into()))?;
        Ok(messages.ready_chunks(PUBLISHES_IN_FLIGHT).map(|chunk| {
            chunk
                .into_iter()
                .try_for_each(|message| message.map(drop))
                .map_err(|error| QueueError::request("watching for pairs")(error.into()))
        }))
    }

    async fn publish(&self, row: &Row) -> Result<InFlight, QueueError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}:{}", self.table, row.id));
        let (subject, refusal) = match row.check() {
            Ok(()) => (format!("corrections.{}", subject_token(&row.domain)), None),
            Err(refusal) => {
                headers.insert(REFUSAL_HEADER, refusal.name());
                (format!("quarantine.{refusal}"), Some(refusal))
            }
        };
        let message = PublishMessage::build().headers(headers).payload(serde_json::to_vec(row)?.into());
        let stream = if refusal.is_some() { QUARANTINE } else { CORRECTIONS };
        let acknowledged = self
            .streams
            .connection
            .jetstream()
            .send_publish(subject, message)
            .await
            .map_err(|source| QueueError::Publish { stream, source })?;
        Ok(InFlight { id: row.id, refusal, stream, acknowledged })
    }

    /// Learns the ids that were stored since the ledger last looked, by whomever.
    async fn catch_up(&self, known: &mut Known) -> Result<(), QueueError> {
        let Streams { corrections, quarantine, .. } = &self.streams;
        let (corrections_last, quarantine_last) =
            tokio::try_join!(last_sequence(corrections), last_sequence(quarantine))?;
        if corrections_last < known.corrections_read || quarantine_last < known.quarantine_read {
            tracing::warn!("a stream of pairs lost messages; the ledger is built anew");
            *known = Known::default();
        }
        let Known { ids, corrections_read, quarantine_read } = known;
        for (stream, read, last) in [
            (corrections, corrections_read, corrections_last),
            (quarantine, quarantine_read, quarantine_last),
        ] {
            scan(stream, *read + 1, last, Depth::Headers, |_, message| {
                let id = message.headers.as_ref().and_then(|headers| headers.get(NATS_MESSAGE_ID));
                if let Some(id) = id.and_then(|id| self.row_id(id.as_str())) {
                    ids.insert(id);
                }
            })
            .await?;
            *read = last;
        }
        Ok(())
    }

    /// The id in a message id of this table.
    fn row_id(&self, message_id: &str) -> Option<i64> {
        message_id.strip_prefix(&*self.table)?.strip_prefix(':')?.parse().ok()
    }
}

/// A publish whose acknowledgement is awaited.
struct InFlight {
    id: i64,
    refusal: Option<Refusal>,
    stream: &'static str,
    acknowledged: PublishAckFuture,
}

/// Awaits an acknowledgement, and writes the row into the ledger only then.
async fn settle(publish: InFlight, known: &mut Known, appended: &mut Appended) -> Result<(), QueueError> {
    let InFlight { id, refusal, stream, acknowledged } = publish;
    let ack = acknowledged.await.map_err(|source| QueueError::Publish { stream, source })?;
    known.ids.insert(id);
    if ack.duplicate {
        appended.duplicates += 1;
        return Ok(());
    }
    let read = match refusal {
        None => {
            appended.stored += 1;
            &mut known.corrections_read
        }
        Some(_) => {
            appended.refused += 1;
            &mut known.quarantine_read
        }
    };
    // Our own messages need no second look, as long as nobody else's lie between.
    if ack.sequence == *read + 1 {
        *read = ack.sequence;
    }
    Ok(())
}

async fn last_sequence(stream: &Stream) -> Result<u64, QueueError> {
    let info = stream.get_info().await;
    Ok(info
        .map_err(|error| QueueError::request("asking for a stream's state")(error.into()))?
        .state
        .last_sequence)
}
