//! The pairs: each version of a row's text stored once, in order.
//!
//! A row is identified by its number (see [`row_identity`](crate::row_identity)), which its message id
//! holds, and by a digest of its content. Two mechanisms keep a row from being stored twice: the dedup
//! ledger, which knows every row in the streams, and the broker's duplicate window, which covers rows
//! that two workers publish at the same moment. Before each append, the ledger reads the headers of
//! all messages that others have stored since the last one. It therefore needs no background task, and
//! is never behind by more than that moment.
//!
//! ```text
//! mod.rs         the handle, and the ledger's reading of the streams
//! append.rs      storing of rows: new ones, and changed ones
//! erase.rs       erasing of rows that were deleted or that a person wants forgotten
//! reading.rs     counts, notices of new pairs, snapshots
//! listing.rs     counts and pages for people
//! quarantine.rs  a person's decisions about rows kept out of training: list, release, drop
//! screening.rs   screening of a row beyond its own text: catalog names, burst limit
//! history.rs     history of the rate of rows, and the burst limit
//! burst.rs       bursts: their ids, and what is logged about them
//! date_log.rs    messages about the dates of rows
//! ledger.rs      the dedup ledger: digest, version and place of each row
//! ledger_file/   the ledger on disk, for the next start
//! digest.rs      digest of a row
//! message_id.rs  message ids
//! scan.rs        one ordered read of a range of a stream
//! ```

mod append;
mod burst;
mod date_log;
mod digest;
mod erase;
mod history;
mod ledger;
mod ledger_file;
mod listing;
mod message_id;
mod quarantine;
mod reading;
mod scan;
mod screening;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Message;
use async_nats::jetstream::stream::Stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use self::append::{Appended, SHORTENED_HEADER};
use self::burst::BurstLog;
pub use self::burst::{Burst, BurstId, NotABurstId};
use self::date_log::DateLog;
use self::digest::RowDigest;
pub use self::erase::Forgotten;
pub use self::history::BurstLimit;
use self::history::{History, minute_of};
use self::ledger::{Entry, Ledger, Place};
use self::ledger_file::FileState;
pub use self::ledger_file::LedgerFile;
pub use self::listing::{QuarantinePage, StoredPair};
use self::message_id::{MessageId, MessageRole};
pub use self::quarantine::{Decided, Quarantined};
pub use self::reading::{Arrivals, Snapshot};
use self::scan::{Depth, scan};
pub use self::screening::{KnownNames, ScreeningRules};
use crate::broker::{BrokerError, Clock, Records, Streams, stream_info, timestamp};
use crate::row_identity::{KeptRow, KeptText, RowId};

/// Header of a quarantined row that names its [`Refusal`](crate::correction::Refusal).
pub const REFUSAL_HEADER: &str = "Refusal";

/// Header of a pair that a person released; it names the refusal that was overruled.
pub const RELEASED_HEADER: &str = "Released";

/// Header of a pair, or of a row of a burst, with the minute, since 1970, in which the burst limit
/// counted it.
const MINUTE_HEADER: &str = "Minute";

/// Header of every row with the digest of its content; see [`digest`]. Rows that versions before 0.2
/// stored have none.
const DIGEST_HEADER: &str = "Digest";

/// Header of every row whose id is a text, with that text as a JSON string: a header's own spaces are not
/// kept. Tombstones have none, since such a text may say who a row is about.
const TEXT_ID_HEADER: &str = "Text-Id";

/// Key of [`SweptTable`] in the bucket of state that survives a restart.
const SWEPT_TABLE: &str = "swept_table";

/// Handle to the pairs on the broker. Clones share one ledger.
#[derive(Debug, Clone)]
pub struct Corrections {
    streams: Streams,
    table: Arc<str>,
    known: Arc<Mutex<StreamState>>,
    file: Option<LedgerFile>,
}

/// Record of the sweeps that reached the end of the table.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct SweptTable {
    /// Newest minute of the rows known then, by their own dates. Later rows count as no older.
    floor: i64,
}

/// State read from both streams, and the sequence up to which each stream has been read.
#[derive(Debug, Default)]
struct StreamState {
    /// False until the streams were read for the first time.
    is_read: bool,
    ledger: Ledger,
    /// Numbers of the rows whose current text a person released into the pairs.
    released: BTreeSet<i64>,
    history: History,
    bursts: BurstLog,
    dates: DateLog,
    rules: ScreeningRules,
    /// Number of times that a message with the text of an erased row was noticed in a stream.
    undeleted: u64,
    /// Value of `undeleted` up to which such messages were deleted.
    deleted: u64,
    corrections_read: u64,
    quarantine_read: u64,
    file: FileState,
}

impl Corrections {
    /// Opens the pairs of one table, and reads the ledger of all rows stored so far.
    ///
    /// # Errors
    /// [`BrokerError::InvalidTable`], [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn open(streams: &Streams, table: &str) -> Result<Self, BrokerError> {
        Self::open_as(streams, table, None).await
    }

    /// Opens the pairs as [`open`](Self::open) does. The ledger is read from the file as far as that goes,
    /// and written to it from time to time.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open). A file that can't be read or written is none.
    pub async fn open_with(streams: &Streams, table: &str, file: LedgerFile) -> Result<Self, BrokerError> {
        Self::open_as(streams, table, Some(file)).await
    }

    async fn open_as(streams: &Streams, table: &str, file: Option<LedgerFile>) -> Result<Self, BrokerError> {
        let corrections = Self { file, ..Self::unread(streams, table)? };
        drop(corrections.current().await?);
        Ok(corrections)
    }

    /// Returns the pairs of one table. The ledger is read by whoever first needs it: most commands don't, and
    /// it takes seconds for a million rows.
    ///
    /// # Errors
    /// [`BrokerError::InvalidTable`].
    pub fn unread(streams: &Streams, table: &str) -> Result<Self, BrokerError> {
        // The name becomes part of a header, which a line break would end.
        if table.is_empty() || table.chars().any(char::is_control) {
            return Err(BrokerError::InvalidTable);
        }
        Ok(Self {
            streams: streams.clone(),
            table: table.into(),
            known: Arc::new(Mutex::default()),
            file: None,
        })
    }

    fn swept_table(&self) -> Records<SweptTable> {
        self.streams.state()
    }

    /// Notes that a sweep has handed over every row up to the end of the table. `took` is the time
    /// since it began. Only rows that come later are held to the burst limit.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`], [`BrokerError::Unreadable`].
    pub async fn swept(&self, took: Duration) -> Result<(), BrokerError> {
        let now = self.streams.clock().now();
        let began = now.saturating_sub(took).unwrap_or(now);
        // A floor that can't be saved is saved by a later sweep: it rises with every new row.
        let Some(floor) = self.known.lock().await.history.swept(minute_of(began)) else { return Ok(()) };
        let change = |stored: Option<&SweptTable>| match stored {
            Some(stored) if stored.floor >= floor => None,
            Some(_) | None => Some(SweptTable { floor }),
        };
        self.swept_table().update(SWEPT_TABLE, change).await
    }

    /// Returns the highest number of any stored row, trained on or not. A sweep's cursor may be lower.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn highest_number(&self) -> Result<Option<i64>, BrokerError> {
        Ok(self.current().await?.ledger.highest())
    }

    /// Screens rows by these rules from now on, in addition to the check of their own text.
    pub async fn set_screen(&self, rules: ScreeningRules) {
        self.known.lock().await.rules = rules;
    }

    /// Returns the number of rows with an id up to and including `last` that are stored, trained on
    /// or not. Erased rows don't count.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn count_ids_up_to(&self, last: i64) -> Result<u64, BrokerError> {
        Ok(self.current().await?.ledger.count_up_to(last))
    }

    /// Returns those of these row ids that were never stored.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn missing(&self, ids: &[i64]) -> Result<Vec<i64>, BrokerError> {
        let known = self.current().await?;
        Ok(ids.iter().copied().filter(|id| !known.ledger.contains_id(*id)).collect())
    }

    /// Returns the rows that have these ids now, as far as they are stored.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn kept(&self, ids: &[i64]) -> Result<Vec<KeptRow>, BrokerError> {
        let known = self.current().await?;
        Ok(ids.iter().filter_map(|id| known.ledger.kept(*id)).collect())
    }

    /// Returns the stored rows with an id above `after` and up to `last` that the table had when they were
    /// seen last: those of the current series of ids, and those of earlier ones that it has shown since.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn kept_between(&self, after: i64, last: i64) -> Result<Vec<KeptRow>, BrokerError> {
        Ok(self.current().await?.ledger.kept_between(after, last))
    }

    /// Returns the next ids that are texts, in the order of their numbers after `after`, at most `count`.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn text_ids_after(&self, after: i64, count: usize) -> Result<Vec<KeptText>, BrokerError> {
        Ok(self.current().await?.ledger.text_ids_after(after, count))
    }

    /// Returns the ids that rows have in the table, by the rows' numbers.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn row_ids(&self, numbers: &[i64]) -> Result<Vec<RowId>, BrokerError> {
        let known = self.current().await?;
        Ok(numbers.iter().map(|number| known.ledger.row_id(*number)).collect())
    }

    /// Returns the current series of the table's ids: the number of times that they started anew.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn series(&self) -> Result<u32, BrokerError> {
        Ok(self.current().await?.ledger.series())
    }

    /// Returns the ledger, brought up to date with what any worker has stored. While the guard is
    /// held, no other task of this process stores rows.
    async fn current(&self) -> Result<OwnedMutexGuard<StreamState>, BrokerError> {
        let mut known = Arc::clone(&self.known).lock_owned().await;
        if let Some(file) = self.file.as_ref().filter(|_| !known.is_read) {
            known = file.load(self, known).await?;
        }
        self.catch_up(&mut known).await?;
        match &self.file {
            Some(file) => file.write_if_due(self, known).await,
            None => Ok(known),
        }
    }

    /// Reads the rows that any worker has stored since the ledger was last read.
    async fn catch_up(&self, known: &mut StreamState) -> Result<(), BrokerError> {
        let swept = match known.is_read {
            false => self.swept_table().load(SWEPT_TABLE).await?,
            // This process raises the floor itself from then on.
            true => None,
        };
        let (corrections, quarantine) = (self.streams.corrections(), self.streams.quarantine());
        let (corrections_last, quarantine_last) =
            tokio::try_join!(last_sequence(corrections), last_sequence(quarantine))?;
        if corrections_last < known.corrections_read || quarantine_last < known.quarantine_read {
            tracing::warn!("a stream of pairs lost messages; rebuilding the ledger");
            let floor = known.history.floor();
            *known = StreamState {
                is_read: known.is_read,
                rules: std::mem::take(&mut known.rules),
                dates: std::mem::take(&mut known.dates),
                undeleted: known.undeleted,
                deleted: known.deleted,
                ..StreamState::default()
            };
            floor.and_then(|floor| known.history.raise_floor(floor));
            if let Some(file) = &self.file {
                file.remove().await?;
            }
        }
        for (stream, place, last) in
            [(corrections, Place::Pairs, corrections_last), (quarantine, Place::Quarantine, quarantine_last)]
        {
            let read = match place {
                Place::Pairs => known.corrections_read,
                Place::Quarantine | Place::Erased => known.quarantine_read,
            };
            let mut undigested = None;
            scan(stream, read + 1, last, Depth::Headers, |sequence, message| {
                let Some(headers) = &message.headers else { return };
                let Some(id) = self.message_id(headers) else { return };
                let digest = header(headers, DIGEST_HEADER).and_then(RowDigest::parse);
                if digest.is_none() && id.role != MessageRole::Tombstone {
                    undigested = Some((undigested.map_or(sequence, |(first, _)| first), sequence));
                    return;
                }
                known.record(id, digest.unwrap_or(RowDigest::UNKNOWN), place, headers, stored_at(&message));
            })
            .await?;
            if let Some((first, last)) = undigested {
                // Rows that an earlier version stored: only their text gives the digest.
                scan(stream, first, last, Depth::Whole, |_, message| {
                    let Some(headers) = &message.headers else { return };
                    let Some(id) = self.message_id(headers) else { return };
                    if header(headers, DIGEST_HEADER).is_none() && id.role != MessageRole::Tombstone {
                        let row = serde_json::from_slice(&message.payload).ok();
                        let digest = row.map_or(RowDigest::UNKNOWN, |row| RowDigest::of(&row));
                        known.record(id, digest, place, headers, stored_at(&message));
                    }
                })
                .await?;
            }
            match place {
                Place::Pairs => known.corrections_read = last,
                Place::Quarantine | Place::Erased => known.quarantine_read = last,
            }
        }
        if let Some((SweptTable { floor }, _)) = swept {
            known.history.raise_floor(floor);
        }
        known.is_read = true;
        Ok(())
    }

    /// Parses the message id of a row of this table.
    fn message_id(&self, headers: &HeaderMap) -> Option<MessageId> {
        MessageId::parse(header(headers, NATS_MESSAGE_ID.as_ref())?, &self.table)
    }
}

impl StreamState {
    /// Returns the number of messages that were read from both streams.
    fn messages_read(&self) -> u64 {
        self.corrections_read.saturating_add(self.quarantine_read)
    }

    /// Records a message of one of the two streams.
    fn record(
        &mut self,
        id: MessageId,
        digest: RowDigest,
        place: Place,
        headers: &HeaderMap,
        stored_at: Option<Timestamp>,
    ) {
        let MessageId { number, version, role } = id;
        let place = if role == MessageRole::Tombstone { Place::Erased } else { place };
        let before = self.ledger.get(number);
        self.ledger.record(number, Entry { digest, version, place });
        if let Some(text) = header(headers, TEXT_ID_HEADER)
            && let Ok(text) = serde_json::from_str::<String>(text)
        {
            self.ledger.record_text(number, &text, stored_at.unwrap_or(Timestamp::UNIX_EPOCH));
        }
        let after = self.ledger.get(number);
        let is_kept = |entry: &Entry| entry.place != Place::Erased;
        self.file.has_erased |= before.as_ref().is_some_and(is_kept) && !after.as_ref().is_some_and(is_kept);
        // A tombstone and a message of the same row: the message is still to be deleted.
        if before.is_some_and(|before| (before.place == Place::Erased) != (place == Place::Erased)) {
            self.undeleted += 1;
        }
        if before.is_none()
            && header(headers, REFUSAL_HEADER).is_none()
            && let Some(minute) = minute_in(headers)
        {
            // A worker whose clock was ahead counted its rows in the future.
            self.history.record(stored_at.map_or(minute, |at| minute.min(minute_of(at))));
        }
        // A release is a decision about one version of the text.
        match (role, after) {
            (MessageRole::Released, Some(after))
                if after.version == version && after.place == Place::Pairs =>
            {
                self.released.insert(number);
            }
            _ if before.is_some_and(|before| after.is_some_and(|after| after.version > before.version)) => {
                self.released.remove(&number);
            }
            _ => {}
        }
    }

    /// Logs what a batch of rows has shown.
    fn tell(&mut self, now: i64) {
        self.dates.tell();
        for notice in self.bursts.notices(&self.history, now) {
            notice.log();
        }
    }
}

fn minute_in(headers: &HeaderMap) -> Option<i64> {
    headers.get(MINUTE_HEADER)?.as_str().parse().ok()
}

/// Returns the time at which a message was stored, by the broker's clock.
fn stored_at(message: &Message) -> Option<Timestamp> {
    message.info().ok().map(|info| timestamp(info.published.unix_timestamp_nanos()))
}

/// Adds the header of a row whose id is a text.
fn insert_text_id(headers: &mut HeaderMap, text: Option<&str>) {
    if let Some(text) = text {
        headers.insert(TEXT_ID_HEADER, serde_json::Value::from(text).to_string());
    }
}

/// Returns the value of a header.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.as_str())
}

async fn last_sequence(stream: &Stream) -> Result<u64, BrokerError> {
    Ok(stream_info(stream).await?.state.last_sequence)
}
