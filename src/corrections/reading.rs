//! Reading of the pairs: counts, notices of new pairs, and snapshots.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::stream::DirectGetErrorKind;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::ledger::Place;
use super::message_id::{MessageId, MessageRole};
use super::scan::{Depth, scan};
use super::{Corrections, last_sequence};
use crate::broker::{BrokerError, stream_info, timestamp};
use crate::correction::{Refusal, Row};
use crate::row_list::RowList;
use crate::trace_context::{RecentTraces, TRACE_HEADER};

/// Largest number of notices of new pairs that are merged into one.
const NOTICES_AT_ONCE: usize = 512;

/// All pairs up to a stream sequence.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Row of each pair, in order of sequence. Each row has its newest text up to the sequence, and its id is
    /// its [number](crate::row_identity). Erased rows are left out.
    pub rows: RowList,
    /// Number of messages left out because they hold no row, or a row that may not be trained on.
    /// Other programs published them; such messages are never fatal.
    pub malformed: usize,
    /// Numbers of the rows that a person released. These rows win over conflicting ones.
    pub released: BTreeSet<i64>,
    /// Traces in which the last pairs were stored.
    pub traces: RecentTraces,
}

/// Pairs stored after a stream sequence, counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Arrivals {
    /// Number of these pairs.
    pub count: u64,
    /// Last sequence of the stream, up to which the pairs were counted.
    pub last_sequence: u64,
    /// Time at which the first of them was stored, by the broker's clock.
    pub oldest_at: Option<Timestamp>,
    /// Time at which the last of them was stored, by the broker's clock.
    pub newest_at: Option<Timestamp>,
}

impl Corrections {
    /// Returns the stream sequence of the last pair, or 0 when there never was one.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn last_sequence(&self) -> Result<u64, BrokerError> {
        last_sequence(self.streams.corrections()).await
    }

    /// Returns the number of pairs stored after a stream sequence.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn count_after(&self, sequence: u64) -> Result<u64, BrokerError> {
        Ok(self.arrivals_after(sequence).await?.count)
    }

    /// Returns the number of pairs stored after a stream sequence, and the times of the first and
    /// the last. A foreign message on the stream counts like a pair, because telling them apart
    /// would mean reading them all.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn arrivals_after(&self, sequence: u64) -> Result<Arrivals, BrokerError> {
        let stream = self.streams.corrections();
        let state = stream_info(stream).await?.state;
        let from = sequence.saturating_add(1).max(state.first_sequence);
        if state.messages == 0 || from > state.last_sequence {
            return Ok(Arrivals { last_sequence: state.last_sequence, ..Arrivals::default() });
        }
        let subjects = self.streams.names().correction_subjects();
        let first = match stream.direct_get_next_for_subject(&subjects, Some(from)).await {
            Ok(first) => first,
            // An operator deleted every later pair.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {
                return Ok(Arrivals { last_sequence: state.last_sequence, ..Arrivals::default() });
            }
            Err(error) => return Err(BrokerError::request("reading the oldest new pair")(error)),
        };
        let mut count = state.last_sequence - from + 1;
        if state.deleted_count.is_some_and(|deleted| deleted > 0) {
            // An operator deleted single messages, so the sequences no longer give the count.
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

    /// Returns every pair up to a stream sequence, in order.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn snapshot(&self, up_to_sequence: u64) -> Result<Snapshot, BrokerError> {
        let to = up_to_sequence.min(self.last_sequence().await?);
        let mut versions: HashMap<i64, (u16, usize)> = HashMap::new();
        // Rows in order of sequence, also those that a later version has superseded.
        let (mut rows, mut is_superseded) = (RowList::default(), Vec::new());
        let mut snapshot = Snapshot::default();
        scan(self.streams.corrections(), 1, to, Depth::Whole, |_, message| {
            let Some(row) = trainable(&message.payload) else {
                snapshot.malformed += 1;
                return;
            };
            // Other programs' rows have no message id. A row of the table goes before them.
            let id = message.headers.as_ref().and_then(|headers| self.message_id(headers));
            let id = id.unwrap_or(MessageId { number: row.id, version: 0, role: MessageRole::Row });
            match versions.get(&id.number) {
                Some((version, _)) if *version > id.version => return,
                Some((version, _)) if *version == id.version => {}
                known => {
                    if let Some(superseded) = known.and_then(|(_, place)| is_superseded.get_mut(*place)) {
                        *superseded = true;
                        snapshot.released.remove(&id.number);
                    }
                    versions.insert(id.number, (id.version, rows.len()));
                    rows.push(&Row { id: id.number, ..row });
                    is_superseded.push(false);
                }
            }
            if id.role == MessageRole::Released {
                snapshot.released.insert(id.number);
            }
            if let Some(trace) = message.headers.as_ref().and_then(|headers| headers.get(TRACE_HEADER)) {
                snapshot.traces.add(trace.as_str());
            }
        })
        .await?;
        drop(versions);
        // The text of a pair may have changed to one that nobody can learn from. Only now: the ledger is
        // not held while a long stream is read, so that the ingest goes on.
        let known = self.current().await?;
        let is_pair =
            |number: i64| known.ledger.get(number).is_none_or(|current| current.place == Place::Pairs);
        let is_kept = |place: &usize| !is_superseded[*place] && is_pair(rows.id(*place));
        let kept: Vec<usize> = (0..rows.len()).filter(is_kept).collect();
        snapshot.rows = match kept.len() == rows.len() {
            true => rows,
            false => kept.iter().map(|place| rows.row(*place)).collect(),
        };
        if snapshot.malformed > 0 {
            tracing::warn!(
                count = snapshot.malformed,
                stream = %self.streams.names().corrections(),
                "messages hold no trainable row and are left out"
            );
        }
        Ok(snapshot)
    }

    /// Counts the rows in quarantine by reason. Leaves out reasons that this version doesn't know.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn quarantined_counts(&self) -> Result<BTreeMap<Refusal, u64>, BrokerError> {
        const WHAT: &str = "counting quarantined rows";
        let names = self.streams.names();
        let subjects = self.streams.quarantine().info_with_subjects(names.quarantine_subjects()).await;
        subjects
            .map_err(BrokerError::request(WHAT))?
            .map_err(BrokerError::request(WHAT))
            .try_filter_map(|(subject, count)| async move {
                let reason = names.quarantine_reason(&subject).and_then(Refusal::from_name);
                Ok(reason.map(|reason| (reason, count as u64)))
            })
            .try_collect()
            .await
    }

    /// Returns a stream that yields whenever pairs are stored from now on, once for all pairs that
    /// are ready.
    pub(crate) async fn arrivals(
        &self,
    ) -> Result<impl futures::Stream<Item = Result<(), BrokerError>> + Send + use<>, BrokerError> {
        let consumer = self
            .streams
            .corrections()
            .create_consumer(OrderedConfig {
                deliver_policy: DeliverPolicy::New,
                headers_only: true,
                ..Default::default()
            })
            .await
            .map_err(BrokerError::request("watching for pairs"))?;
        let messages = consumer.messages().await.map_err(BrokerError::request("watching for pairs"))?;
        Ok(messages.ready_chunks(NOTICES_AT_ONCE).map(|chunk| {
            chunk
                .into_iter()
                .try_for_each(|message| message.map(drop))
                .map_err(BrokerError::request("watching for pairs"))
        }))
    }
}

/// Decodes the row in a message, which anybody may have published. Returns `None` when the message
/// holds no row that may be trained on.
fn trainable(payload: &[u8]) -> Option<Row> {
    // The parser would also accept an array as a row, field by field.
    if !payload.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    serde_json::from_slice(payload).ok().filter(|row: &Row| row.check().is_ok())
}
