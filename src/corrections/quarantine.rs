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

use super::scan::{Depth, scan};
use super::{
    Corrections, DROPPED_SUFFIX, REFUSAL_HEADER, RELEASED_HEADER, RELEASED_SUFFIX, SHORTENED_HEADER,
    last_sequence,
};
use crate::broker::BrokerError;
use crate::broker::Name;
use crate::broker::timestamp;
use crate::correction::{Refusal, Row};

/// Last token of a tombstone's subject.
const DROPPED: &str = "dropped";

/// A row kept out of training. `Debug` shows no text, like that of [`Row`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Sequence of the row in the quarantine stream.
    pub sequence: u64,
    /// Reason the row is kept out.
    pub refusal: Refusal,
    /// Time at which the row was stored, by the broker's clock.
    pub at: Timestamp,
    /// Set when the row's texts were cut to fit into a message.
    pub shortened: bool,
    /// The row.
    pub row: Row,
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
            let header = |name: &str| message.headers.as_ref()?.get(name).map(|value| value.as_str());
            let ours = header(NATS_MESSAGE_ID.as_ref()).and_then(|id| self.row_id(id)).is_some();
            let Some(refusal) = header(REFUSAL_HEADER).and_then(Refusal::from_name).filter(|_| ours) else {
                return;
            };
            // A tombstone has no row.
            let Ok(row) = serde_json::from_slice::<Row>(&message.payload) else { return };
            let at = message.info().map(|info| timestamp(info.published.unix_timestamp_nanos()));
            if reason.is_none_or(|reason| reason == refusal) {
                found.push(Quarantined {
                    sequence,
                    refusal,
                    at: at.unwrap_or_default(),
                    shortened: header(SHORTENED_HEADER).is_some(),
                    row,
                });
            }
        })
        .await?;
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
        let decided = self.vouch(&quarantined.row, quarantined.refusal).await?;
        delete(self.streams.quarantine(), quarantined.sequence).await?;
        Ok(decided)
    }

    /// Appends a row to the pairs once, as accepted by a person. The ledger may already hold its
    /// id, from the time the row came in and was screened.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn vouch(&self, row: &Row, refusal: Refusal) -> Result<Decided, BrokerError> {
        let mut known = self.known.lock().await;
        self.catch_up(&mut known).await?;
        if known.released.contains(&row.id) {
            return Ok(Decided::Already);
        }
        let mut headers = HeaderMap::new();
        // A message id of its own: the row itself may be in the same stream.
        headers.insert(NATS_MESSAGE_ID, format!("{}:{}{RELEASED_SUFFIX}", self.table, row.id));
        headers.insert(RELEASED_HEADER, refusal.name());
        let names = self.streams.names();
        let subject = names.correction_subject(&row.domain);
        self.store(names.corrections(), subject, headers, serde_json::to_vec(row)?).await?;
        known.released.insert(row.id);
        tracing::info!(row = row.id, %refusal, "a person released a row");
        Ok(Decided::Released)
    }

    /// Deletes a quarantined row, keeping its id and the reason. Safe to repeat after an error.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn drop_quarantined(&self, quarantined: &Quarantined) -> Result<Decided, BrokerError> {
        self.store_tombstone(quarantined.row.id, quarantined.refusal).await?;
        delete(self.streams.quarantine(), quarantined.sequence).await?;
        Ok(Decided::Dropped)
    }

    /// Deletes a pair that a person finds wrong, keeping its id and the reason. No later dataset
    /// contains the message at this stream sequence.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn drop_pair(&self, sequence: u64, id: i64, refusal: Refusal) -> Result<Decided, BrokerError> {
        self.store_tombstone(id, refusal).await?;
        delete(self.streams.corrections(), sequence).await?;
        Ok(Decided::Dropped)
    }

    /// Returns the ids of the rows that a person has released.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn released(&self) -> Result<BTreeSet<i64>, BrokerError> {
        let mut known = self.known.lock().await;
        self.catch_up(&mut known).await?;
        Ok(known.released.clone())
    }

    async fn store_tombstone(&self, id: i64, refusal: Refusal) -> Result<(), BrokerError> {
        let mut headers = HeaderMap::new();
        // Not the row's own message id, which may still be in the stream's duplicate window.
        headers.insert(NATS_MESSAGE_ID, format!("{}:{id}{DROPPED_SUFFIX}", self.table));
        headers.insert(REFUSAL_HEADER, refusal.name());
        let names = self.streams.names();
        self.store(names.quarantine(), names.quarantine_subject(DROPPED), headers, Vec::new()).await?;
        tracing::info!(row = id, %refusal, "a person dropped a row");
        Ok(())
    }

    async fn store(
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
async fn delete(stream: &Stream, sequence: u64) -> Result<(), BrokerError> {
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
