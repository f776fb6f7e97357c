//! A person's decisions about rows kept out of training: list, release, drop.
//!
//! Release and drop both leave a record in the streams and are final. A released row is appended to
//! the pairs under a message id of its own, with the former refusal in a header. A dropped row
//! leaves a tombstone without its text, so that no sweep of the table brings the row back.

use std::collections::BTreeSet;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{DeleteMessageErrorKind, Stream};
use jiff::Timestamp;
use serde::Serialize;

use super::append::encode;
use super::digest::RowDigest;
use super::ledger::Place;
use super::message_id::{MessageId, MessageRole};
use super::scan::{Depth, scan};
use super::{
    BurstId, Corrections, DIGEST_HEADER, REFUSAL_HEADER, RELEASED_HEADER, SHORTENED_HEADER, header,
    insert_text_id, last_sequence, minute_in, minute_of, stored_at,
};
use crate::broker::{BrokerError, Name};
use crate::correction::{Refusal, Row};
use crate::row_identity::id_of;

/// A row kept out of training. `Debug` shows no text, like that of [`Row`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Sequence of the row in the quarantine stream.
    pub sequence: u64,
    /// Reason the row is kept out.
    pub refusal: Refusal,
    /// Time at which the row was stored, by the broker's clock.
    pub at: Timestamp,
    /// Minute in which the row counted, if it is part of a burst.
    pub burst: Option<BurstId>,
    /// Set when the row's texts were cut to fit into a message.
    pub shortened: bool,
    /// The row. Its id is the row's [number](crate::row_identity).
    pub row: Row,
    /// Version of the row's text.
    pub version: u16,
}

/// Outcome of a person's decision about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// The row is among the pairs now.
    Released,
    /// The row is deleted, except for its id.
    Dropped,
    /// The decision had been carried out before.
    Already,
}

impl Corrections {
    /// Returns every row in quarantine, in order of arrival, with one reason or with any.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn quarantined(&self, reason: Option<Refusal>) -> Result<Vec<Quarantined>, BrokerError> {
        let stream = self.streams.quarantine();
        let mut found = Vec::new();
        scan(stream, 1, last_sequence(stream).await?, Depth::Whole, |sequence, message| {
            let Some(headers) = &message.headers else { return };
            let Some(id) = self.message_id(headers) else { return };
            let Some(refusal) = header(headers, REFUSAL_HEADER).and_then(Refusal::from_name) else { return };
            // A tombstone has no row.
            let Ok(row) = serde_json::from_slice::<Row>(&message.payload) else { return };
            let at = stored_at(&message).unwrap_or_default();
            // Rows that an earlier version stored have no minute of their own.
            let minute = minute_in(headers).unwrap_or_else(|| minute_of(at));
            if reason.is_none_or(|reason| reason == refusal) {
                found.push(Quarantined {
                    sequence,
                    refusal,
                    at,
                    burst: (refusal == Refusal::Burst).then_some(BurstId(minute)),
                    shortened: header(headers, SHORTENED_HEADER).is_some(),
                    row: Row { id: id.number, ..row },
                    version: id.version,
                });
            }
        })
        .await?;
        // The row's text may have changed, and a released row may not be deleted yet.
        let known = self.current().await?;
        found.retain(|kept: &Quarantined| {
            let current = known.ledger.get(kept.row.id);
            current
                .is_some_and(|current| current.place == Place::Quarantine && current.version == kept.version)
        });
        Ok(found)
    }

    /// Moves a quarantined row to the pairs, as accepted by a person. The row is never quarantined
    /// again, and its correction wins over conflicting ones. Safe to repeat after an error.
    ///
    /// # Errors
    /// [`BrokerError::NotReleasable`] for a row whose own text can't be trained on; otherwise the
    /// errors of [`append`](Self::append).
    pub async fn release(&self, quarantined: &Quarantined) -> Result<Decided, BrokerError> {
        if !quarantined.refusal.is_judgment() || quarantined.row.check().is_err() {
            return Err(BrokerError::NotReleasable { refusal: quarantined.refusal });
        }
        let Quarantined { row, refusal, version, .. } = quarantined;
        let decided = self.vouch_for(row, Some(*version), *refusal).await?;
        delete(self.streams.quarantine(), quarantined.sequence).await?;
        Ok(decided)
    }

    /// Appends a row to the pairs once, as accepted by a person. The ledger already holds the row, from
    /// the time it came in and was screened. The row's id is its number.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn vouch(&self, row: &Row, refusal: Refusal) -> Result<Decided, BrokerError> {
        self.vouch_for(row, None, refusal).await
    }

    /// Appends a version of a row, by default the current one, as accepted by a person. When the text
    /// has changed since, the decision has no effect: it was about another text.
    async fn vouch_for(
        &self,
        row: &Row,
        version: Option<u16>,
        refusal: Refusal,
    ) -> Result<Decided, BrokerError> {
        let mut known = self.current().await?;
        let current = known.ledger.get(row.id);
        let is_erased = current.is_some_and(|current| current.place == Place::Erased);
        if known.released.contains(&row.id) || is_erased {
            return Ok(Decided::Already);
        }
        let version = version.or(current.map(|current| current.version)).unwrap_or(1);
        let id = MessageId { number: row.id, version, role: MessageRole::Released };
        let stored = Row { id: id_of(row.id), ..row.clone() };
        // Of a row whose texts were cut, only the ledger knows the digest.
        let current = current.filter(|current| current.version == version);
        let digest = current.map_or_else(|| RowDigest::of(&stored), |current| current.digest);
        let mut headers = HeaderMap::new();
        // A message id of its own: the row itself may be in the same stream.
        headers.insert(NATS_MESSAGE_ID, id.in_table(&self.table));
        headers.insert(DIGEST_HEADER, digest.to_string());
        headers.insert(RELEASED_HEADER, refusal.name());
        insert_text_id(&mut headers, row.text_id.as_deref());
        let names = self.streams.names();
        let subject = names.correction_subject(&row.domain);
        self.store(names.corrections(), subject, headers.clone(), encode(&stored, row.id)?).await?;
        known.record(id, digest, Place::Pairs, &headers, None);
        tracing::info!(row = stored.id, %refusal, "a person released a row");
        Ok(Decided::Released)
    }

    /// Erases a quarantined row, keeping its id and the reason. Safe to repeat after an error.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn drop_quarantined(&self, quarantined: &Quarantined) -> Result<Decided, BrokerError> {
        let Quarantined { sequence, refusal, version, ref row, .. } = *quarantined;
        let mut known = self.current().await?;
        if known.ledger.get(row.id).is_some_and(|now| now.version != version && now.place != Place::Erased) {
            // The row has another text now, and the decision was about this one.
            drop(known);
            delete(self.streams.quarantine(), sequence).await?;
            return Ok(Decided::Already);
        }
        self.store_tombstones(&mut known, &[row.id], refusal.name()).await?;
        drop(known);
        delete(self.streams.quarantine(), sequence).await?;
        tracing::info!(row = id_of(row.id), %refusal, "a person dropped a row");
        if version > 1 {
            self.complete_erasures().await?;
        }
        Ok(Decided::Dropped)
    }

    /// Erases a pair that a person finds wrong, keeping its id and the reason. No later dataset
    /// contains it.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn drop_pair(&self, number: i64, refusal: Refusal) -> Result<Decided, BrokerError> {
        let mut known = self.current().await?;
        self.store_tombstones(&mut known, &[number], refusal.name()).await?;
        drop(known);
        self.complete_erasures().await?;
        tracing::info!(row = id_of(number), %refusal, "a person dropped a row");
        Ok(Decided::Dropped)
    }

    /// Returns the numbers of the rows that a person has released.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn released(&self) -> Result<BTreeSet<i64>, BrokerError> {
        Ok(self.current().await?.released.clone())
    }

    pub(super) async fn store(
        &self,
        stream: &Name,
        subject: String,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(), BrokerError> {
        let message = PublishMessage::build().headers(headers).payload(body.into());
        let failed = |source| BrokerError::Publish { stream: stream.clone(), source };
        self.streams.context().send_publish(subject, message).await.map_err(failed)?.await.map_err(failed)?;
        Ok(())
    }
}

/// Deletes a message. A message that is already gone counts as deleted.
pub(super) async fn delete(stream: &Stream, sequence: u64) -> Result<(), BrokerError> {
    use async_nats::jetstream::ErrorCode;
    match stream.delete_message(sequence).await {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            DeleteMessageErrorKind::JetStream(refusal)
                if [
                    ErrorCode::NO_MESSAGE_FOUND,
                    ErrorCode::STREAM_MESSAGE_DELETE_FAILED,
                    ErrorCode::SEQUENCE_NOT_FOUND,
                ]
                .contains(&refusal.error_code()) =>
            {
                Ok(())
            }
            _ => Err(BrokerError::request("deleting a message")(error)),
        },
    }
}
