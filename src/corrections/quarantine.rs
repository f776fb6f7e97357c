//! A person's decisions about rows kept out of training: list, release, drop.
//!
//! Release and drop both leave a record in the streams and are final. A released row is appended to
//! the pairs under a message id of its own, with the former refusal in a header. A dropped row
//! leaves a tombstone without its text, so that no sweep of the table brings the row back.

use std::collections::BTreeSet;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::message::PublishMessage;
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::append::encode;
use super::digest::RowDigest;
use super::erase::{AT_ONCE, delete_all};
use super::ledger::Place;
use super::message_id::{MessageId, MessageRole};
use super::scan::{Depth, scan};
use super::{
    BurstId, Corrections, DIGEST_HEADER, REFUSAL_HEADER, RELEASED_HEADER, SHORTENED_HEADER, StreamState,
    header, insert_text_id, last_sequence, minute_in, minute_of, stored_at,
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

/// A row that a person accepts. Its id is its number.
#[derive(Clone, Copy)]
struct Accepted<'r> {
    row: &'r Row,
    /// Version of the text that the person has seen; `None` for the current one.
    version: Option<u16>,
    refusal: Refusal,
}

impl Corrections {
    /// Returns every row in quarantine, in order of arrival, with one reason or with any.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn quarantined(&self, reason: Option<Refusal>) -> Result<Vec<Quarantined>, BrokerError> {
        let last = last_sequence(self.streams.quarantine()).await?;
        let mut found = self.quarantined_between(1, last).await?;
        found.retain(|kept| reason.is_none_or(|reason| reason == kept.refusal));
        Ok(found)
    }

    /// Returns the rows in quarantine whose stream sequence is in `from..=to`.
    pub(super) async fn quarantined_between(
        &self,
        from: u64,
        to: u64,
    ) -> Result<Vec<Quarantined>, BrokerError> {
        let mut found = Vec::new();
        scan(self.streams.quarantine(), from, to, Depth::Whole, |sequence, message| {
            let Some(headers) = &message.headers else { return };
            let Some(id) = self.message_id(headers) else { return };
            let Some(refusal) = header(headers, REFUSAL_HEADER).and_then(Refusal::from_name) else { return };
            // A tombstone has no row.
            let Ok(row) = serde_json::from_slice::<Row>(&message.payload) else { return };
            let at = stored_at(&message).unwrap_or_default();
            // Rows that an earlier version stored have no minute of their own.
            let minute = minute_in(headers).unwrap_or_else(|| minute_of(at));
            found.push(Quarantined {
                sequence,
                refusal,
                at,
                burst: (refusal == Refusal::Burst).then_some(BurstId(minute)),
                shortened: header(headers, SHORTENED_HEADER).is_some(),
                row: Row { id: id.number, ..row },
                version: id.version,
            });
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

    /// Moves quarantined rows to the pairs, as accepted by a person, many at the same time. The rows are
    /// never quarantined again, and their corrections win over conflicting ones. Safe to drop at any
    /// await, and to repeat: [`complete_releases`](Self::complete_releases) then removes what is left.
    ///
    /// # Errors
    /// [`BrokerError::NotReleasable`] when the own text of a row can't be trained on; no row is released
    /// then. Otherwise the errors of [`append`](Self::append).
    pub async fn release(&self, rows: &[&Quarantined]) -> Result<Vec<Decided>, BrokerError> {
        let stays = |kept: &&&Quarantined| !kept.refusal.is_judgment() || kept.row.check().is_err();
        if let Some(kept) = rows.iter().find(stays) {
            return Err(BrokerError::NotReleasable { refusal: kept.refusal });
        }
        let mut decided = Vec::with_capacity(rows.len());
        for rows in rows.chunks(AT_ONCE) {
            let accepted: Vec<_> = rows
                .iter()
                .map(|kept| Accepted { row: &kept.row, version: Some(kept.version), refusal: kept.refusal })
                .collect();
            decided.extend(self.vouch_for(&accepted).await?);
            let sequences = rows.iter().map(|kept| kept.sequence).collect();
            delete_all(self.streams.quarantine(), sequences).await?;
        }
        Ok(decided)
    }

    /// Deletes the quarantined message of every row that is among the pairs by a person's decision. A
    /// release that was interrupted leaves such messages. Returns their number.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn complete_releases(&self) -> Result<usize, BrokerError> {
        let known = self.current().await?;
        let versions =
            known.released.iter().filter_map(|number| Some((*number, known.ledger.get(*number)?.version)));
        let released: BTreeSet<(i64, u16)> = versions.collect();
        drop(known);
        if released.is_empty() {
            return Ok(0);
        }
        let is_left =
            |id: MessageId| id.role == MessageRole::Row && released.contains(&(id.number, id.version));
        self.delete_where(self.streams.quarantine(), is_left).await
    }

    /// Appends rows to the pairs once, as accepted by a person. The ledger already holds the rows, from the
    /// time they came in and were screened. A row's id is its number.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn vouch(&self, rows: &[&Row], refusal: Refusal) -> Result<Vec<Decided>, BrokerError> {
        let mut decided = Vec::with_capacity(rows.len());
        for rows in rows.chunks(AT_ONCE) {
            let accepted: Vec<_> = rows.iter().map(|row| Accepted { row, version: None, refusal }).collect();
            decided.extend(self.vouch_for(&accepted).await?);
        }
        Ok(decided)
    }

    /// Appends rows to the pairs, all at the same time. When the text of one has changed since, the
    /// decision has no effect on it: it was about another text.
    async fn vouch_for(&self, rows: &[Accepted<'_>]) -> Result<Vec<Decided>, BrokerError> {
        let mut known = self.current().await?;
        let messages: Vec<_> =
            rows.iter().map(|accepted| known.release_message(accepted, &self.table)).collect();
        let names = self.streams.names();
        let stored = rows.iter().zip(&messages).filter_map(|(accepted, message)| {
            let (id, _, headers) = message.as_ref()?;
            let stored = Row { id: id_of(id.number), ..accepted.row.clone() };
            Some(async move {
                let subject = names.correction_subject(&stored.domain);
                self.store(names.corrections(), subject, headers.clone(), encode(&stored, id.number)?).await
            })
        });
        try_join_all(stored).await?;
        let mut decided = Vec::with_capacity(rows.len());
        for (Accepted { row, refusal, .. }, message) in rows.iter().zip(&messages) {
            let Some((id, digest, headers)) = message else {
                decided.push(Decided::Already);
                continue;
            };
            known.record(*id, *digest, Place::Pairs, headers, None);
            tracing::info!(row = id_of(row.id), %refusal, "a person released a row");
            decided.push(Decided::Released);
        }
        Ok(decided)
    }

    /// Erases quarantined rows, keeping their ids and the reasons, many at the same time. Safe to drop at
    /// any await, and to repeat: [`complete_erasures`](Self::complete_erasures) then removes what is left.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn drop_quarantined(&self, rows: &[&Quarantined]) -> Result<Vec<Decided>, BrokerError> {
        let mut decided = Vec::with_capacity(rows.len());
        let alike = rows.chunk_by(|one, next| one.refusal == next.refusal);
        for rows in alike.flat_map(|rows| rows.chunks(AT_ONCE)) {
            let mut known = self.current().await?;
            let mut numbers = Vec::with_capacity(rows.len());
            for kept in rows {
                let now = known.ledger.get(kept.row.id);
                // Such a row has another text now, and the decision was about this one.
                if now.is_some_and(|now| now.version != kept.version && now.place != Place::Erased) {
                    decided.push(Decided::Already);
                } else {
                    numbers.push(kept.row.id);
                    decided.push(Decided::Dropped);
                }
            }
            let reason = rows.first().map_or("", |kept| kept.refusal.name());
            self.store_tombstones(&mut known, &numbers, reason).await?;
            drop(known);
            let sequences = rows.iter().map(|kept| kept.sequence).collect();
            delete_all(self.streams.quarantine(), sequences).await?;
            for number in numbers {
                tracing::info!(row = id_of(number), reason, "a person dropped a row");
            }
        }
        if rows.iter().any(|kept| kept.version > 1) {
            self.complete_erasures().await?;
        }
        Ok(decided)
    }

    /// Erases pairs that a person finds wrong, given by number, keeping their ids and the reason. No later
    /// dataset contains them.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn drop_pairs(&self, numbers: &[i64], refusal: Refusal) -> Result<Vec<Decided>, BrokerError> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let mut known = self.current().await?;
        self.store_tombstones(&mut known, numbers, refusal.name()).await?;
        drop(known);
        self.complete_erasures().await?;
        for number in numbers {
            tracing::info!(row = id_of(*number), %refusal, "a person dropped a row");
        }
        Ok(vec![Decided::Dropped; numbers.len()])
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

impl StreamState {
    /// Returns the id, the digest and the headers of the message that releases a row; `None` when it was
    /// released or erased before.
    fn release_message(
        &self,
        accepted: &Accepted<'_>,
        table: &str,
    ) -> Option<(MessageId, RowDigest, HeaderMap)> {
        let Accepted { row, version, refusal } = *accepted;
        let current = self.ledger.get(row.id);
        let is_erased = current.is_some_and(|current| current.place == Place::Erased);
        if self.released.contains(&row.id) || is_erased {
            return None;
        }
        let version = version.or(current.map(|current| current.version)).unwrap_or(1);
        // A message id of its own: the row itself may be in the same stream.
        let id = MessageId { number: row.id, version, role: MessageRole::Released };
        // Of a row whose texts were cut, only the ledger knows the digest.
        let current = current.filter(|current| current.version == version);
        let digest = current.map_or_else(
            || RowDigest::of(&Row { id: id_of(row.id), ..row.clone() }),
            |current| current.digest,
        );
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id.in_table(table));
        headers.insert(DIGEST_HEADER, digest.to_string());
        headers.insert(RELEASED_HEADER, refusal.name());
        insert_text_id(&mut headers, row.text_id.as_deref());
        Some((id, digest, headers))
    }
}
