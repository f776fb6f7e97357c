//! The pairs: kept once each, for ever, in order.
//!
//! A row's identity is `<table>:<id>`, its message id. Two things keep a row from being kept twice: the
//! ledger, which knows every id in the streams, and the broker's duplicate window, which covers what two
//! workers publish at the same moment. Before each append the ledger reads the headers of whatever others
//! have stored since, so it needs no background task and is never behind by more than that moment.
//!
//! ```text
//! mod.rs         append, and what is known already
//! reading.rs     count, watch, snapshot
//! quarantine.rs  what a person does about rows that are kept out: look, release, drop
//! screen.rs      what a row is judged by beyond its own text
//! ledger.rs      a set of row ids
//! scan.rs        reads a stretch of a stream in order
//! ```

mod ledger;
mod quarantine;
mod reading;
mod scan;
mod screening;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Stream;
use jiff::Timestamp;
use tokio::sync::Mutex;

use self::ledger::Ledger;
pub use self::quarantine::{Decided, Quarantined};
pub use self::reading::{Arrivals, Snapshot};
use self::scan::{Depth, scan};
use self::screening::History;
pub use self::screening::{BurstLimit, KnownNames, ScreeningRules};
use crate::broker::QueueError;
use crate::broker::{CORRECTIONS, QUARANTINE, Streams};
use crate::correction::{Refusal, Row, subject_token};

/// The header of a quarantined row that names its [`Refusal`].
pub const REFUSAL_HEADER: &str = "Refusal";

/// The header of a row whose texts were cut because they would not fit into a message.
pub const SHORTENED_HEADER: &str = "Shortened";

/// The header of a pair that a person released: why it had been refused.
pub const RELEASED_HEADER: &str = "Released";

/// The header of a pair that says in which minute, since 1970, it was counted against a burst.
const MINUTE_HEADER: &str = "Minute";

/// What a dropped row's message id ends with.
const DROPPED_SUFFIX: &str = ":dropped";

/// What a released row's message id ends with.
const RELEASED_SUFFIX: &str = ":released";

/// The longest text that is stored, in characters. Four of them fit into any server's largest message. A pair
/// that may be trained on has far shorter ones, so only its domain or date can be cut.
const MAX_STORED_CHARACTERS: usize = 4 * crate::correction::MAX_CHARACTERS;

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
    /// Ids that a person put among the pairs.
    released: BTreeSet<i64>,
    history: History,
    screen: ScreeningRules,
    corrections_read: u64,
    quarantine_read: u64,
}

impl Corrections {
    /// Opens the pairs of one table, reading the ids of all rows that are kept already.
    ///
    /// # Errors
    /// [`QueueError::InvalidTable`], [`QueueError::Request`], [`QueueError::TimedOut`].
    pub async fn open(streams: &Streams, table: &str) -> Result<Self, QueueError> {
        // The name becomes part of a header, where a line break would end it.
        if table.is_empty() || table.chars().any(char::is_control) {
            return Err(QueueError::InvalidTable);
        }
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
        let mut waiting = VecDeque::with_capacity(PUBLISHES_IN_FLIGHT);
        let mut sent = Ledger::default();
        let now = Timestamp::now();
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
            let judged = known.judge(row, now);
            waiting.push_back(self.publish(row, judged).await?);
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

    /// Judges rows by more than their own text from now on.
    pub async fn set_screen(&self, screen: ScreeningRules) {
        self.known.lock().await.screen = screen;
    }

    /// How many row ids up to and including this one are kept, trained on or not.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::TimedOut`].
    pub async fn count_ids_up_to(&self, last: i64) -> Result<u64, QueueError> {
        let mut known = self.known.lock().await;
        self.catch_up(&mut known).await?;
        Ok(known.ids.count_up_to(last))
    }

    /// Which of these row ids are not kept.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::TimedOut`].
    pub async fn missing(&self, ids: &[i64]) -> Result<Vec<i64>, QueueError> {
        let mut known = self.known.lock().await;
        self.catch_up(&mut known).await?;
        Ok(ids.iter().copied().filter(|id| !known.ids.contains(*id)).collect())
    }

    async fn publish(&self, row: &Row, judged: Result<i64, Refusal>) -> Result<InFlight, QueueError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}:{}", self.table, row.id));
        let (subject, refusal) = match judged {
            Ok(minute) => {
                headers.insert(MINUTE_HEADER, minute.to_string());
                (format!("corrections.{}", subject_token(&row.domain)), None)
            }
            Err(refusal) => {
                headers.insert(REFUSAL_HEADER, refusal.name());
                (format!("quarantine.{refusal}"), Some(refusal))
            }
        };
        let body = match shortened(row) {
            Some(short) => {
                headers.insert(SHORTENED_HEADER, "true");
                serde_json::to_vec(&short)?
            }
            None => serde_json::to_vec(row)?,
        };
        let message = PublishMessage::build().headers(headers).payload(body.into());
        let stream = if refusal.is_some() { QUARANTINE } else { CORRECTIONS };
        let acknowledged = self
            .streams
            .context()
            .send_publish(subject, message)
            .await
            .map_err(|source| QueueError::Publish { stream, source })?;
        Ok(InFlight { id: row.id, refusal, stream, acknowledged })
    }

    /// Learns the ids that were stored since the ledger last looked, by whomever.
    async fn catch_up(&self, known: &mut Known) -> Result<(), QueueError> {
        let (corrections, quarantine) = (self.streams.corrections(), self.streams.quarantine());
        let (corrections_last, quarantine_last) =
            tokio::try_join!(last_sequence(corrections), last_sequence(quarantine))?;
        if corrections_last < known.corrections_read || quarantine_last < known.quarantine_read {
            tracing::warn!("a stream of pairs lost messages; the ledger is built anew");
            *known = Known { screen: std::mem::take(&mut known.screen), ..Known::default() };
        }
        let Known { ids, released, history, corrections_read, quarantine_read, .. } = known;
        for (stream, read, last) in [
            (corrections, corrections_read, corrections_last),
            (quarantine, quarantine_read, quarantine_last),
        ] {
            scan(stream, *read + 1, last, Depth::Headers, |_, message| {
                let Some(headers) = &message.headers else { return };
                let Some(id) = headers.get(NATS_MESSAGE_ID).and_then(|id| self.row_id(id.as_str())) else {
                    return;
                };
                if headers.get(RELEASED_HEADER).is_some() {
                    released.insert(id);
                }
                let minute = headers.get(MINUTE_HEADER).and_then(|minute| minute.as_str().parse().ok());
                if ids.insert(id)
                    && let Some(minute) = minute
                {
                    history.record(id, minute);
                }
            })
            .await?;
            *read = last;
        }
        Ok(())
    }

    /// The id in a message id of this table: of a row, a released one or the tombstone of a dropped one.
    fn row_id(&self, message_id: &str) -> Option<i64> {
        let id = message_id.strip_prefix(&*self.table)?.strip_prefix(':')?;
        let id = id.strip_suffix(DROPPED_SUFFIX).or(id.strip_suffix(RELEASED_SUFFIX)).unwrap_or(id);
        id.parse().ok()
    }
}

impl Known {
    /// Whether a row may be trained on, as far as one row shows; if so, in which minute it counts.
    fn judge(&mut self, row: &Row, now: Timestamp) -> Result<i64, Refusal> {
        row.check()?;
        self.screen.knows(row)?;
        let minute = self.history.minute(row, now);
        if self.screen.burst.is_some_and(|burst| self.history.is_full(minute, &burst)) {
            return Err(Refusal::Burst);
        }
        // Counted before it is stored: of rows whose storing fails, the same come again.
        self.history.record(row.id, minute);
        Ok(minute)
    }
}

/// The row with its texts cut, if one is too long: a row that no message can hold would hold up all behind it.
fn shortened(row: &Row) -> Option<Row> {
    let long = |text: &str| text.chars().nth(MAX_STORED_CHARACTERS).is_some();
    let cut = |text: &str| text.chars().take(MAX_STORED_CHARACTERS).collect::<String>();
    let texts =
        [row.typo.as_str(), &row.corrected, &row.domain, row.created_at.as_deref().unwrap_or_default()];
    texts.into_iter().any(long).then(|| Row {
        id: row.id,
        typo: cut(&row.typo),
        corrected: cut(&row.corrected),
        domain: cut(&row.domain),
        created_at: row.created_at.as_deref().map(cut),
    })
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
