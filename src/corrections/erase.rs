//! Erasing of rows: those that were deleted from the table, and those that a person wants forgotten.
//!
//! First a tombstone is stored: from then on no dataset contains the row, and no sweep brings it back.
//! The tombstone has the row's id, the reason, and a digest of its time of insert, and no text. Then
//! every message with the row's text is deleted; the broker overwrites the message in its file.
//!
//! Whoever reads a tombstone and a message of the same row knows that the message is still to be
//! deleted: after a crash in between, or when another worker has published the row at the same moment.
//! [`complete_erasures`](Corrections::complete_erasures) deletes it then.

use std::collections::BTreeSet;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::stream::{DeleteMessageErrorKind, Stream};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::digest::RowDigest;
use super::ledger::Place;
use super::message_id::{MessageId, MessageRole};
use super::scan::{Depth, scan};
use super::{Corrections, DIGEST_HEADER, REFUSAL_HEADER, StreamState, last_sequence};
use crate::broker::BrokerError;
use crate::correction::Row;
use crate::row_identity::KeptRow;
use crate::text::normalize;

/// Last token of the tombstones' subject.
const DROPPED: &str = "dropped";
/// Reason in the tombstone of a row that was deleted from the table.
pub(super) const DELETED: &str = "deleted";
/// Reason in the tombstone of a row that a person wants forgotten.
const FORGOTTEN: &str = "forgotten";
/// Number of messages that are stored or deleted at the same time.
pub(super) const AT_ONCE: usize = 64;

/// Rows that were erased because a person asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Numbers of the rows that had text in the streams.
    pub numbers: Vec<i64>,
    /// Ids that no stored row has. Tombstones keep them from being stored.
    pub unknown: Vec<i64>,
    /// Number of messages deleted.
    pub messages: usize,
}

impl Corrections {
    /// Erases rows that were deleted from the table. Leaves out a row whose text has changed since
    /// `KeptRow` was read: the table has it again. Also leaves out a row of an earlier series of ids that
    /// the table has not shown since the ids started anew. Returns the number of erased rows. Their messages
    /// are deleted by [`complete_erasures`](Self::complete_erasures).
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn remove(&self, rows: &[KeptRow]) -> Result<usize, BrokerError> {
        let mut known = self.current().await?;
        let unchanged = |kept: &&KeptRow| {
            let now = known.ledger.get(kept.number);
            now.is_some_and(|now| now.version == kept.version && now.place != Place::Erased)
                && known.ledger.may_be_in_table(kept.number)
        };
        let numbers: Vec<i64> = rows.iter().filter(unchanged).map(|kept| kept.number).collect();
        self.store_tombstones(&mut known, &numbers, DELETED).await?;
        Ok(numbers.len())
    }

    /// Erases rows as a person asks for: every row that has or had one of these ids in the table, and
    /// the rows with these numbers. A row that was not stored yet is never stored.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn forget(&self, ids: &[i64], numbers: &[i64]) -> Result<Forgotten, BrokerError> {
        let mut known = self.current().await?;
        let (mut found, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        found.extend(numbers.iter().copied().filter(|number| known.ledger.get(*number).is_some()));
        for id in ids {
            match known.ledger.kept_ever(*id) {
                none if none.is_empty() => _ = unknown.insert(*id),
                rows => found.extend(rows.iter().map(|kept| kept.number)),
            }
        }
        let all: Vec<i64> = found.iter().chain(&unknown).copied().collect();
        self.store_tombstones(&mut known, &all, FORGOTTEN).await?;
        // From here on no row comes back. The ingest goes on while the streams are searched.
        drop(known);
        let messages = self.complete_erasures().await?;
        Ok(Forgotten {
            numbers: found.into_iter().collect(),
            unknown: unknown.into_iter().collect(),
            messages,
        })
    }

    /// Returns the numbers of all stored rows with this typo, in any of their versions. Texts that
    /// [`normalize`] to the same text are the same.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn numbers_of_typo(&self, typo: &str) -> Result<Vec<i64>, BrokerError> {
        let wanted = normalize(typo);
        let mut numbers = BTreeSet::new();
        for stream in [self.streams.corrections(), self.streams.quarantine()] {
            scan(stream, 1, last_sequence(stream).await?, Depth::Whole, |_, message| {
                let id = message.headers.as_ref().and_then(|headers| self.message_id(headers));
                let row = serde_json::from_slice::<Row>(&message.payload).ok();
                if let (Some(id), Some(row)) = (id, row)
                    && normalize(&row.typo) == wanted
                {
                    numbers.insert(id.number);
                }
            })
            .await?;
        }
        Ok(numbers.into_iter().collect())
    }

    /// Returns the numbers of all erased rows.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn erased(&self) -> Result<BTreeSet<i64>, BrokerError> {
        Ok(self.current().await?.ledger.erased().collect())
    }

    /// Deletes every message with the text of an erased row, if the ledger has noticed one. Returns the
    /// number of messages. Safe to drop at any await: the next call goes on.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn complete_erasures(&self) -> Result<usize, BrokerError> {
        let known = self.current().await?;
        let noticed = known.undeleted;
        if noticed == known.deleted {
            return Ok(0);
        }
        let rows: BTreeSet<i64> = known.ledger.erased().collect();
        drop(known);
        let mut deleted = 0;
        for stream in [self.streams.corrections(), self.streams.quarantine()] {
            let has_text = |id: MessageId| id.role != MessageRole::Tombstone && rows.contains(&id.number);
            deleted += self.delete_where(stream, has_text).await?;
        }
        tracing::info!(messages = deleted, "the texts of erased rows are deleted");
        // One that was noticed meanwhile is left to the next call.
        let mut known = self.known.lock().await;
        known.deleted = known.deleted.max(noticed);
        Ok(deleted)
    }

    /// Deletes the messages of a stream whose ids fit, and returns their number.
    pub(super) async fn delete_where(
        &self,
        stream: &Stream,
        fits: impl Fn(MessageId) -> bool,
    ) -> Result<usize, BrokerError> {
        let mut found = Vec::new();
        scan(stream, 1, last_sequence(stream).await?, Depth::Headers, |sequence, message| {
            let id = message.headers.as_ref().and_then(|headers| self.message_id(headers));
            if id.is_some_and(&fits) {
                found.push(sequence);
            }
        })
        .await?;
        delete_all(stream, found.clone()).await?;
        Ok(found.len())
    }

    /// Stores the tombstones of rows, given by number.
    pub(super) async fn store_tombstones(
        &self,
        known: &mut StreamState,
        numbers: &[i64],
        reason: &'static str,
    ) -> Result<(), BrokerError> {
        for numbers in numbers.chunks(AT_ONCE) {
            let tombstones: Vec<_> =
                numbers.iter().map(|number| self.tombstone(known, *number, reason)).collect();
            let names = self.streams.names();
            let subject = names.quarantine_subject(DROPPED);
            let stored = tombstones.iter().map(|(_, _, headers)| {
                self.store(names.quarantine(), subject.clone(), headers.clone(), Vec::new())
            });
            try_join_all(stored).await?;
            for (id, digest, headers) in &tombstones {
                known.record(*id, *digest, Place::Quarantine, headers, None);
            }
        }
        if !numbers.is_empty() {
            tracing::info!(rows = numbers.len(), reason, "erased rows");
        }
        Ok(())
    }

    fn tombstone(
        &self,
        known: &StreamState,
        number: i64,
        reason: &'static str,
    ) -> (MessageId, RowDigest, HeaderMap) {
        let id = MessageId { number, version: 1, role: MessageRole::Tombstone };
        // Without the digest of the text: the digest of a short text would give the text away.
        let created = known.ledger.get(number).map_or(0, |entry| entry.digest.created);
        let digest = RowDigest { created, ..RowDigest::UNKNOWN };
        let mut headers = HeaderMap::new();
        // Not the row's own message id, which may still be in the stream's duplicate window.
        headers.insert(NATS_MESSAGE_ID, id.in_table(&self.table));
        headers.insert(DIGEST_HEADER, digest.to_string());
        headers.insert(REFUSAL_HEADER, reason);
        (id, digest, headers)
    }
}

/// Deletes messages, many at the same time.
pub(super) async fn delete_all(stream: &Stream, sequences: Vec<u64>) -> Result<(), BrokerError> {
    let deleted = futures::stream::iter(sequences.into_iter().map(|sequence| delete(stream, sequence)));
    deleted.buffer_unordered(AT_ONCE).try_collect().await
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
