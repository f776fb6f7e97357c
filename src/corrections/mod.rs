//! The pairs: stored once each, forever, in order.
//!
//! A row's identity is `<table>:<id>`, its message id. Two mechanisms keep a row from being stored
//! twice: the dedup ledger, which knows every id in the streams, and the broker's duplicate window,
//! which covers rows that two workers publish at the same moment. Before each append, the ledger
//! reads the headers of all messages that others have stored since the last one. It therefore needs
//! no background task, and is never behind by more than that moment.
//!
//! ```text
//! mod.rs         append, and the ids known already
//! reading.rs     counts, notices of new pairs, snapshots
//! quarantine.rs  a person's decisions about rows kept out of training: list, release, drop
//! screening.rs   screening of a row beyond its own text: catalog names, burst limit
//! ledger.rs      the dedup ledger: a set of row ids
//! scan.rs        one ordered read of a range of a stream
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
use crate::broker::BrokerError;
use crate::broker::{Name, Streams};
use crate::correction::{Refusal, Row};

/// Header of a quarantined row that names its [`Refusal`].
pub const REFUSAL_HEADER: &str = "Refusal";

/// Header of a row whose texts were cut because they would not fit into a message.
pub const SHORTENED_HEADER: &str = "Shortened";

/// Header of a pair that a person released; it names the refusal that was overruled.
pub const RELEASED_HEADER: &str = "Released";

/// Header of a pair with the minute, since 1970, in which the burst limit counted it.
const MINUTE_HEADER: &str = "Minute";

/// Suffix of a dropped row's message id.
const DROPPED_SUFFIX: &str = ":dropped";

/// Suffix of a released row's message id.
const RELEASED_SUFFIX: &str = ":released";

/// Longest text that is stored, in characters. Four such texts fit into any server's largest
/// message. The texts of a pair that may be trained on are far shorter, so only its domain or date
/// can be cut.
const MAX_STORED_CHARACTERS: usize = 4 * crate::correction::MAX_CHARACTERS;

/// Largest number of publishes that await their acknowledgement at the same time.
const PUBLISHES_IN_FLIGHT: usize = 512;

/// Outcome of appending a batch of rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Number of rows stored for training.
    pub stored: usize,
    /// Number of rows that were stored before.
    pub duplicates: usize,
    /// Number of rows stored in quarantine.
    pub refused: usize,
}

/// Handle to the pairs on the broker. Clones share one ledger.
#[derive(Debug, Clone)]
pub struct Corrections {
    streams: Streams,
    table: Arc<str>,
    known: Arc<Mutex<StreamState>>,
}

/// State read from both streams, and the sequence up to which each stream has been read.
#[derive(Debug, Default)]
struct StreamState {
    ids: Ledger,
    /// Ids of rows that a person released into the pairs.
    released: BTreeSet<i64>,
    history: History,
    rules: ScreeningRules,
    corrections_read: u64,
    quarantine_read: u64,
}

impl Corrections {
    /// Opens the pairs of one table, and reads the ids of all rows stored so far.
    ///
    /// # Errors
    /// [`BrokerError::InvalidTable`], [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn open(streams: &Streams, table: &str) -> Result<Self, BrokerError> {
        // The name becomes part of a header, which a line break would end.
        if table.is_empty() || table.chars().any(char::is_control) {
            return Err(BrokerError::InvalidTable);
        }
        let corrections =
            Self { streams: streams.clone(), table: table.into(), known: Arc::new(Mutex::default()) };
        corrections.catch_up(&mut *corrections.known.lock().await).await?;
        Ok(corrections)
    }

    /// Stores rows: those that may be trained on as pairs, the others in quarantine. Every row is
    /// durable when this method returns. After an error, some rows may be stored; appending the
    /// same rows again is always safe.
    ///
    /// # Errors
    /// [`BrokerError::Publish`], [`BrokerError::Request`], [`BrokerError::TimedOut`],
    /// [`BrokerError::Encode`].
    pub async fn append(&self, rows: &[Row]) -> Result<Appended, BrokerError> {
        let mut appended = Appended::default();
        if rows.is_empty() {
            return Ok(appended);
        }
        // Held over the whole batch, so that a row that two tasks append at once is published once.
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

    /// Returns the highest id of any stored row, trained on or not. A sweep's cursor may be lower.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn highest_id(&self) -> Result<Option<i64>, BrokerError> {
        let mut known = self.known.lock().await;
        self.catch_up(&mut known).await?;
        Ok(known.ids.highest())
    }

    /// Screens rows by these rules from now on, in addition to the check of their own text.
    pub async fn set_screen(&self, rules: ScreeningRules) {
        self.known.lock().await.rules = rules;
    }

    /// Returns the number of row ids up to and including `last` that are stored, trained on or not.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn count_ids_up_to(&self, last: i64) -> Result<u64, BrokerError> {
        let mut known = self.known.lock().await;
        self.catch_up(&mut known).await?;
        Ok(known.ids.count_up_to(last))
    }

    /// Returns those of these row ids that are not stored.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn missing(&self, ids: &[i64]) -> Result<Vec<i64>, BrokerError> {
        let mut known = self.known.lock().await;
        self.catch_up(&mut known).await?;
        Ok(ids.iter().copied().filter(|id| !known.ids.contains(*id)).collect())
    }

    async fn publish(&self, row: &Row, judged: Result<i64, Refusal>) -> Result<InFlight, BrokerError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}:{}", self.table, row.id));
        let (subject, refusal) = match judged {
            Ok(minute) => {
                headers.insert(MINUTE_HEADER, minute.to_string());
                (self.streams.names().correction_subject(&row.domain), None)
            }
            Err(refusal) => {
                headers.insert(REFUSAL_HEADER, refusal.name());
                (self.streams.names().quarantine_subject(refusal), Some(refusal))
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
        let names = self.streams.names();
        let stream = if refusal.is_some() { names.quarantine() } else { names.corrections() };
        let acknowledged = self
            .streams
            .context()
            .send_publish(subject, message)
            .await
            .map_err(|source| BrokerError::Publish { stream: stream.clone(), source })?;
        Ok(InFlight { id: row.id, refusal, stream: stream.clone(), acknowledged })
    }

    /// Reads the ids that any worker has stored since the ledger was last read.
    async fn catch_up(&self, known: &mut StreamState) -> Result<(), BrokerError> {
        let (corrections, quarantine) = (self.streams.corrections(), self.streams.quarantine());
        let (corrections_last, quarantine_last) =
            tokio::try_join!(last_sequence(corrections), last_sequence(quarantine))?;
        if corrections_last < known.corrections_read || quarantine_last < known.quarantine_read {
            tracing::warn!("a stream of pairs lost messages; rebuilding the ledger");
            *known = StreamState { rules: std::mem::take(&mut known.rules), ..StreamState::default() };
        }
        let StreamState { ids, released, history, corrections_read, quarantine_read, .. } = known;
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

    /// Parses the row id in a message id of this table: of a row, of a released row, or of a
    /// dropped row's tombstone.
    fn row_id(&self, message_id: &str) -> Option<i64> {
        let id = message_id.strip_prefix(&*self.table)?.strip_prefix(':')?;
        let id = id.strip_suffix(DROPPED_SUFFIX).or(id.strip_suffix(RELEASED_SUFFIX)).unwrap_or(id);
        id.parse().ok()
    }
}

impl StreamState {
    /// Decides whether a row may be trained on, as far as a single row shows. Returns the minute in
    /// which the row counts.
    fn judge(&mut self, row: &Row, now: Timestamp) -> Result<i64, Refusal> {
        row.check()?;
        self.rules.check_name(row)?;
        let minute = self.history.minute(row, now);
        if self.rules.burst.is_some_and(|burst| self.history.is_full(minute, &burst)) {
            return Err(Refusal::Burst);
        }
        // Counted before it is stored: a row that fails to be stored comes again.
        self.history.record(row.id, minute);
        Ok(minute)
    }
}

/// Returns the row with its texts cut, or `None` when none is too long. A row that fits into no
/// message would block all rows behind it.
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

/// A publish that awaits its acknowledgement.
struct InFlight {
    id: i64,
    refusal: Option<Refusal>,
    stream: Name,
    acknowledged: PublishAckFuture,
}

/// Awaits an acknowledgement, and only then adds the row to the ledger.
async fn settle(
    publish: InFlight,
    known: &mut StreamState,
    appended: &mut Appended,
) -> Result<(), BrokerError> {
    let InFlight { id, refusal, stream, acknowledged } = publish;
    let ack = acknowledged.await.map_err(|source| BrokerError::Publish { stream, source })?;
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
    // Our own message need not be read back, unless someone else's messages came in between.
    if ack.sequence == *read + 1 {
        *read = ack.sequence;
    }
    Ok(())
}

async fn last_sequence(stream: &Stream) -> Result<u64, BrokerError> {
    let info = stream.get_info().await;
    Ok(info.map_err(BrokerError::request("asking for a stream's state"))?.state.last_sequence)
}
