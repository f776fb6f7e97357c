//! Storing of rows: new rows, and rows whose text has changed.
//!
//! A row with a known id and another text may be a change, but it may also be an old copy: Realtime
//! can deliver an insert after a sweep has read the row's next version. Only the table knows. So
//! [`append`](Corrections::append) reports such rows, the caller reads them again, and
//! [`replace`](Corrections::replace) stores what the table says. A replacement names the version that
//! was stored before the row was read: when another worker has stored a newer one meanwhile, the
//! replacement does not take place, and the row is reported again.
//!
//! A new row whose id is below others of its series was committed late, or belongs to another series
//! already: the table's ids have started anew, and no row with a known id has told so yet. Again only
//! the table knows, so [`append_in_order`](Corrections::append_in_order) reports such rows, too.

use std::collections::{HashMap, VecDeque};

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use jiff::Timestamp;
use serde::Serialize;

use super::digest::RowDigest;
use super::erase::DELETED;
use super::ledger::{Entry, Ledger, Place, Recognition};
use super::message_id::MessageId;
use super::{
    Corrections, DIGEST_HEADER, MINUTE_HEADER, REFUSAL_HEADER, StreamState, insert_text_id, minute_of,
};
use crate::broker::BrokerError;
use crate::broker::{Clock, Name};
use crate::correction::{Refusal, Row};
use crate::row_identity::{KeptRow, RowId, series_of};
use crate::trace_context::{TRACE_HEADER, TraceContext};

/// Header of a row whose texts were cut because they would not fit into a message.
pub const SHORTENED_HEADER: &str = "Shortened";

/// Longest text that is stored, in characters. Four such texts fit into any server's largest
/// message. The texts of a pair that may be trained on are far shorter, so only its domain or date
/// can be cut.
const MAX_STORED_CHARACTERS: usize = 4 * crate::correction::MAX_CHARACTERS;

/// Largest number of publishes that await their acknowledgement at the same time.
const PUBLISHES_IN_FLIGHT: usize = 512;

/// Outcome of storing a batch of rows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Number of rows stored for training.
    pub stored: usize,
    /// Number of rows that were stored before, or that were erased.
    pub duplicates: usize,
    /// Number of rows stored in quarantine.
    pub refused: usize,
    /// Number of the rows stored, for training or in quarantine, that replaced an earlier text.
    pub changed: usize,
    /// Ids of rows that are stored with another text. Nothing was stored for them: read them again from
    /// the table, and [`replace`](Corrections::replace) them.
    pub differing: Vec<i64>,
    /// Ids of new rows that are not above every id of their series, and of new rows after such a one.
    /// Nothing was stored for them.
    pub late: Vec<i64>,
    /// Current series of the table's ids. It grows when the ids start anew.
    pub series: u32,
}

impl Corrections {
    /// Stores rows that are new: those that may be trained on as pairs, the others in quarantine.
    /// Every row is durable when this method returns, or reported as differing. After an error, some
    /// rows may be stored; appending the same rows again is always safe.
    ///
    /// # Errors
    /// [`BrokerError::Publish`], [`BrokerError::Request`], [`BrokerError::TimedOut`],
    /// [`BrokerError::Encode`].
    pub async fn append(&self, rows: &[Row]) -> Result<Appended, BrokerError> {
        self.append_where(rows, |_, _, _| true).await
    }

    /// Stores rows as [`append`](Self::append) does, but reports late ones, and the new ones that follow
    /// them, instead of storing them. Store those with `append` after some known rows were read from the
    /// table and handed over: if its ids have started anew, these begin the new series.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn append_in_order(&self, rows: &[Row]) -> Result<Appended, BrokerError> {
        let mut late_in = None;
        self.append_where(rows, |ledger, row, number| {
            // A row of a later series than the last late one tells what was in doubt.
            let follows_late = late_in == Some(series_of(number));
            // Texts come in no order, also those that look like numbers.
            let is_late = row.text_id.is_none() && (follows_late || ledger.is_late(number));
            if is_late {
                late_in = Some(series_of(number));
            }
            !is_late
        })
        .await
    }

    /// Stores those new rows that are admitted with their numbers, and reports the others as late.
    async fn append_where(
        &self,
        rows: &[Row],
        mut admits: impl FnMut(&Ledger, &Row, i64) -> bool,
    ) -> Result<Appended, BrokerError> {
        if rows.is_empty() {
            return Ok(Appended::default());
        }
        // Held over the whole batch, so that a row that two tasks append at once is published once.
        let mut known = self.current().await?;
        let mut batch = Batch::new(self, &mut known).await?;
        for row in rows {
            let digest = RowDigest::of(row);
            match batch.recognize(row.id, digest) {
                Recognition::Repeat => {
                    batch.appended.duplicates += 1;
                    batch.known.ledger.shown(row.id);
                }
                Recognition::Changed(kept) => batch.appended.differing.push(kept.id),
                Recognition::New(number) if admits(&batch.known.ledger, row, number) => {
                    batch.store(row, digest, number, 1).await?;
                }
                Recognition::New(_) => batch.appended.late.push(row.id),
            }
        }
        batch.finish().await
    }

    /// Stores a row in quarantine of which only the id is known. A row that is stored already stays as
    /// it is. Once the row can be read, its text replaces this one.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn refuse(&self, row: &RowId, refusal: Refusal) -> Result<Appended, BrokerError> {
        let mut known = self.current().await?;
        let mut batch = Batch::new(self, &mut known).await?;
        let id = row.number();
        match batch.recognize(id, RowDigest::UNKNOWN) {
            Recognition::New(number) => {
                let row = Row::default().with_id(row);
                batch
                    .publish(
                        &row,
                        RowDigest::UNKNOWN,
                        KeptRow { id, number, version: 1 },
                        Judged { minute: None, refusal: Some(refusal) },
                    )
                    .await?;
            }
            Recognition::Repeat | Recognition::Changed(_) => batch.appended.duplicates += 1,
        }
        batch.finish().await
    }

    /// Stores the text that rows have in the table now. Each row was read from the table after `KeptRow`
    /// was read from the ledger.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn replace(&self, rows: &[(KeptRow, Row)]) -> Result<Appended, BrokerError> {
        if rows.is_empty() {
            return Ok(Appended::default());
        }
        let mut known = self.current().await?;
        let mut batch = Batch::new(self, &mut known).await?;
        for (kept, row) in rows {
            let digest = RowDigest::of(row);
            match batch.recognize(row.id, digest) {
                Recognition::Repeat => batch.appended.duplicates += 1,
                Recognition::New(number) => batch.store(row, digest, number, 1).await?,
                Recognition::Changed(now) if now == *kept => {
                    batch.store(row, digest, kept.number, kept.version.saturating_add(1)).await?;
                }
                Recognition::Changed(now) => batch.appended.differing.push(now.id),
            }
        }
        batch.finish().await
    }
}

/// Rows on their way into the streams.
struct Batch<'a> {
    corrections: &'a Corrections,
    known: &'a mut StreamState,
    /// Current time, by the broker's clock.
    now: Timestamp,
    /// Trace in which the batch is stored.
    trace: Option<TraceContext>,
    /// Digest of each row sent in this batch, by its id in the table.
    sent: HashMap<i64, (RowDigest, KeptRow)>,
    waiting: VecDeque<InFlight>,
    appended: Appended,
}

impl<'a> Batch<'a> {
    async fn new(corrections: &'a Corrections, known: &'a mut StreamState) -> Result<Self, BrokerError> {
        let clock = corrections.streams.clock();
        clock.refresh().await?;
        Ok(Self {
            corrections,
            known,
            now: clock.now(),
            trace: TraceContext::current(),
            sent: HashMap::new(),
            waiting: VecDeque::new(),
            appended: Appended::default(),
        })
    }

    /// Recognizes a row by the ledger, and by the rows of this batch that are not in the ledger yet.
    fn recognize(&self, id: i64, digest: RowDigest) -> Recognition {
        match self.sent.get(&id) {
            Some((sent, _)) if sent.content == digest.content => Recognition::Repeat,
            Some((_, kept)) => Recognition::Changed(*kept),
            None => self.known.ledger.recognize(id, digest),
        }
    }

    /// Screens a row and publishes it.
    async fn store(
        &mut self,
        row: &Row,
        digest: RowDigest,
        number: i64,
        version: u16,
    ) -> Result<(), BrokerError> {
        if self.waiting.len() == PUBLISHES_IN_FLIGHT {
            self.settle_oldest().await?;
        }
        if row.text_id.is_some() && series_of(number) > 0 {
            // A table has one row with such an id, so the earlier one is gone. Its tombstone comes first:
            // after a crash in between, this row is read again and is new.
            let earlier = self.known.ledger.kept_ever(row.id);
            let earlier: Vec<i64> = earlier.iter().map(|kept| kept.number).collect();
            self.corrections.store_tombstones(self.known, &earlier, DELETED).await?;
        }
        self.known.ledger.begin_series_of(number);
        let judged = self.known.judge(row, version, minute_of(self.now));
        self.publish(row, digest, KeptRow { id: row.id, number, version }, judged).await
    }

    async fn publish(
        &mut self,
        row: &Row,
        digest: RowDigest,
        kept: KeptRow,
        judged: Judged,
    ) -> Result<(), BrokerError> {
        self.sent.insert(row.id, (digest, kept));
        let published = self.corrections.publish(row, digest, kept, judged, self.trace.as_ref()).await?;
        self.waiting.push_back(published);
        Ok(())
    }

    async fn finish(mut self) -> Result<Appended, BrokerError> {
        while !self.waiting.is_empty() {
            self.settle_oldest().await?;
        }
        self.known.tell(minute_of(self.now));
        self.appended.series = self.known.ledger.series();
        Ok(self.appended)
    }

    /// Awaits the oldest acknowledgement, and only then adds the row to the ledger.
    async fn settle_oldest(&mut self) -> Result<(), BrokerError> {
        let Some(publish) = self.waiting.pop_front() else { return Ok(()) };
        let InFlight { kept, text_id, digest, refusal, stream, acknowledged } = publish;
        let ack = acknowledged.await.map_err(|source| BrokerError::Publish { stream, source })?;
        if ack.duplicate {
            // Another worker has stored this version of the row, perhaps with another text. The next
            // read of the ledger tells.
            match kept.version {
                1 => self.appended.duplicates += 1,
                _ => self.appended.differing.push(kept.id),
            }
            return Ok(());
        }
        let place = if refusal.is_some() { Place::Quarantine } else { Place::Pairs };
        self.known.ledger.record(kept.number, Entry { digest, version: kept.version, place });
        if let Some(text) = text_id {
            self.known.ledger.record_text(kept.number, &text, self.now);
        }
        self.known.released.remove(&kept.number);
        self.appended.changed += usize::from(kept.version > 1);
        let read = match refusal {
            None => {
                self.appended.stored += 1;
                &mut self.known.corrections_read
            }
            Some(_) => {
                self.appended.refused += 1;
                &mut self.known.quarantine_read
            }
        };
        // Our own message need not be read back, unless someone else's messages came in between.
        if ack.sequence == *read + 1 {
            *read = ack.sequence;
        }
        Ok(())
    }
}

/// A publish that awaits its acknowledgement.
struct InFlight {
    kept: KeptRow,
    text_id: Option<Box<str>>,
    digest: RowDigest,
    refusal: Option<Refusal>,
    stream: Name,
    acknowledged: PublishAckFuture,
}

/// Encodes a row, which has its id in the table, as the body of a message. The message id says the
/// series, too; the body says it for other programs.
pub(super) fn encode(row: &Row, number: i64) -> Result<Vec<u8>, BrokerError> {
    #[derive(Serialize)]
    struct StoredRow<'r> {
        #[serde(flatten)]
        row: &'r Row,
        #[serde(skip_serializing_if = "Option::is_none")]
        series: Option<u32>,
    }
    let series = Some(series_of(number)).filter(|series| *series > 0);
    Ok(serde_json::to_vec(&StoredRow { row, series })?)
}

impl Corrections {
    async fn publish(
        &self,
        row: &Row,
        digest: RowDigest,
        kept: KeptRow,
        judged: Judged,
        trace: Option<&TraceContext>,
    ) -> Result<InFlight, BrokerError> {
        let mut headers = HeaderMap::new();
        let id = MessageId::of_row(kept.number, kept.version);
        headers.insert(NATS_MESSAGE_ID, id.in_table(&self.table));
        headers.insert(DIGEST_HEADER, digest.to_string());
        let names = self.streams.names();
        let Judged { minute, refusal } = judged;
        insert_text_id(&mut headers, row.text_id.as_deref());
        if let Some(trace) = trace {
            headers.insert(TRACE_HEADER, trace.as_str());
        }
        if let Some(minute) = minute {
            headers.insert(MINUTE_HEADER, minute.to_string());
        }
        let subject = match refusal {
            None => names.correction_subject(&row.domain),
            Some(refusal) => {
                headers.insert(REFUSAL_HEADER, refusal.name());
                names.quarantine_subject(refusal)
            }
        };
        let short = shortened(row);
        if short.is_some() {
            headers.insert(SHORTENED_HEADER, "true");
        }
        let body = encode(short.as_ref().unwrap_or(row), kept.number)?;
        let message = PublishMessage::build().headers(headers).payload(body.into());
        let stream = if refusal.is_some() { names.quarantine() } else { names.corrections() };
        let acknowledged = self
            .streams
            .context()
            .send_publish(subject, message)
            .await
            .map_err(|source| BrokerError::Publish { stream: stream.clone(), source })?;
        Ok(InFlight {
            kept,
            text_id: row.text_id.clone(),
            digest,
            refusal,
            stream: stream.clone(),
            acknowledged,
        })
    }
}

/// Decision about a row, as far as a single row and the rate show.
#[derive(Debug, Clone, Copy)]
struct Judged {
    /// Minute in which the row counts; `None` for a row that is refused for its text.
    minute: Option<i64>,
    refusal: Option<Refusal>,
}

impl StreamState {
    /// Decides whether a version of a row may be trained on. A row whose text changes is not counted
    /// again: a correction of many rows at once is no burst, and only the table's owner can make one.
    fn judge(&mut self, row: &Row, version: u16, now: i64) -> Judged {
        let refusal = row.check().and_then(|()| self.rules.check_name(row)).err();
        if refusal.is_some() || version > 1 {
            return Judged { minute: None, refusal };
        }
        let created_at = self.dates.read(row.created_at.as_deref());
        let burst = self.rules.burst;
        let minute = self.history.minute(created_at, now, burst.as_ref());
        if let Some(limit) = burst.and_then(|burst| self.history.excess(minute, &burst)) {
            self.bursts.refused(minute, limit, now);
            return Judged { minute: Some(minute), refusal: Some(Refusal::Burst) };
        }
        // Counted before it is stored: a row that fails to be stored comes again.
        self.history.record(minute);
        Judged { minute: Some(minute), refusal: None }
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
        text_id: row.text_id.clone(),
        typo: cut(&row.typo),
        corrected: cut(&row.corrected),
        domain: cut(&row.domain),
        created_at: row.created_at.as_deref().map(cut),
    })
}
