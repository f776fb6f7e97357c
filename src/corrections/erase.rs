//! Erasing of rows: those that were deleted from the table, and those that a person wants forgotten.
//!
//! First a tombstone is stored: from then on no dataset contains the row, and no sweep brings it back.
//! The tombstone has the row's id, the reason, and a digest of its time of insert, and no text. Then
//! every message with the row's text is deleted; the broker overwrites the message in its file. A
//! record says that messages are being deleted, so that the next worker completes what a crash
//! interrupted.

use std::collections::BTreeSet;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tokio::sync::MutexGuard;

use super::digest::RowDigest;
use super::ledger::Place;
use super::message_id::{MessageId, MessageRole};
use super::quarantine::delete;
use super::scan::{Depth, scan};
use super::{Corrections, DIGEST_HEADER, REFUSAL_HEADER, StreamState, last_sequence};
use crate::broker::BrokerError;
use crate::correction::Row;
use crate::row_identity::{KeptRow, id_of};
use crate::text::normalize;

/// Last token of the tombstones' subject.
const DROPPED: &str = "dropped";
/// Reason in the tombstone of a row that was deleted from the table.
const DELETED: &str = "deleted";
/// Reason in the tombstone of a row that a person wants forgotten.
const FORGOTTEN: &str = "forgotten";
/// Key of the record that says that messages are being deleted.
const ERASURE: &str = "erasure";

/// Says that messages of erased rows are being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Erasure {
    /// Random number of the process that deletes, or `None` when nobody does. Another process that
    /// begins meanwhile replaces it and completes both.
    by: Option<u64>,
}

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
    /// `KeptRow` was read: the table has it again. Returns the number of erased rows.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn remove(&self, rows: &[KeptRow]) -> Result<usize, BrokerError> {
        let known = self.current().await?;
        let unchanged = |kept: &&KeptRow| {
            let now = known.ledger.get(kept.number);
            now.is_some_and(|now| now.version == kept.version && now.place != Place::Erased)
        };
        let numbers: Vec<i64> = rows.iter().filter(unchanged).map(|kept| kept.number).collect();
        self.erase(known, &numbers, DELETED).await?;
        Ok(numbers.len())
    }

    /// Erases every row that has or had one of these ids in the table, as a person asks for. A row that
    /// was not stored yet is never stored.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn forget(&self, ids: &[i64]) -> Result<Forgotten, BrokerError> {
        let known = self.current().await?;
        let mut forgotten = Forgotten::default();
        for id in ids {
            match known.ledger.kept_ever(*id) {
                none if none.is_empty() => forgotten.unknown.push(*id),
                rows => forgotten.numbers.extend(rows.iter().map(|kept| kept.number)),
            }
        }
        let all: Vec<i64> = forgotten.numbers.iter().chain(&forgotten.unknown).copied().collect();
        forgotten.messages = self.erase(known, &all, FORGOTTEN).await?;
        Ok(forgotten)
    }

    /// Returns the ids of all stored rows with this typo, in any of their versions. Texts that
    /// [`normalize`] to the same text are the same.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn ids_of_typo(&self, typo: &str) -> Result<Vec<i64>, BrokerError> {
        let wanted = normalize(typo);
        let mut ids = BTreeSet::new();
        for stream in [self.streams.corrections(), self.streams.quarantine()] {
            scan(stream, 1, last_sequence(stream).await?, Depth::Whole, |_, message| {
                let id = message.headers.as_ref().and_then(|headers| self.message_id(headers));
                let row = serde_json::from_slice::<Row>(&message.payload).ok();
                if let (Some(id), Some(row)) = (id, row)
                    && normalize(&row.typo) == wanted
                {
                    ids.insert(id_of(id.number));
                }
            })
            .await?;
        }
        Ok(ids.into_iter().collect())
    }

    /// Returns the numbers of all erased rows.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn erased(&self) -> Result<BTreeSet<i64>, BrokerError> {
        Ok(self.current().await?.ledger.erased().collect())
    }

    /// Completes erasures that a crash interrupted. Costs one small request when there are none.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn complete_erasures(&self) -> Result<(), BrokerError> {
        let erasure = self.streams.state::<Erasure>().load(ERASURE).await?;
        if erasure.is_some_and(|(erasure, _)| erasure.by.is_some()) {
            self.erase_messages().await?;
        }
        Ok(())
    }

    async fn erase(
        &self,
        mut known: MutexGuard<'_, StreamState>,
        numbers: &[i64],
        reason: &'static str,
    ) -> Result<usize, BrokerError> {
        if numbers.is_empty() {
            return Ok(0);
        }
        self.announce().await?;
        for number in numbers {
            self.store_tombstone(&mut known, *number, reason).await?;
        }
        // From here on no row comes back. The ingest goes on while the streams are searched.
        drop(known);
        tracing::info!(rows = numbers.len(), reason, "erased rows");
        self.erase_messages().await
    }

    /// Records that messages are being deleted, and returns this process's random number.
    async fn announce(&self) -> Result<u64, BrokerError> {
        let token: u64 = rand::rng().random();
        self.streams.state().update(ERASURE, |_| Some(Erasure { by: Some(token) })).await?;
        Ok(token)
    }

    /// Deletes every message with the text of an erased row. Returns the number of messages.
    pub(super) async fn erase_messages(&self) -> Result<usize, BrokerError> {
        let token = self.announce().await?;
        let rows = self.erased().await?;
        let mut deleted = 0;
        for stream in [self.streams.corrections(), self.streams.quarantine()] {
            let mut found = Vec::new();
            scan(stream, 1, last_sequence(stream).await?, Depth::Headers, |sequence, message| {
                let id = message.headers.as_ref().and_then(|headers| self.message_id(headers));
                let erased =
                    id.is_some_and(|id| id.role != MessageRole::Tombstone && rows.contains(&id.number));
                if erased {
                    found.push(sequence);
                }
            })
            .await?;
            deleted += found.len();
            for sequence in found {
                delete(stream, sequence).await?;
            }
        }
        // Not when another process has begun meanwhile.
        let done = |stored: Option<&Erasure>| {
            stored.is_some_and(|stored| stored.by == Some(token)).then_some(Erasure { by: None })
        };
        self.streams.state().update(ERASURE, done).await?;
        Ok(deleted)
    }

    /// Stores the tombstone of a row.
    pub(super) async fn store_tombstone(
        &self,
        known: &mut StreamState,
        number: i64,
        reason: &'static str,
    ) -> Result<(), BrokerError> {
        let before = known.ledger.get(number);
        let id = MessageId { number, version: 1, role: MessageRole::Tombstone };
        // Without the digest of the text: the digest of a short text would give the text away.
        let created = before.map_or(0, |entry| entry.digest.created);
        let digest = RowDigest { created, ..RowDigest::UNKNOWN };
        let mut headers = HeaderMap::new();
        // Not the row's own message id, which may still be in the stream's duplicate window.
        headers.insert(NATS_MESSAGE_ID, id.in_table(&self.table));
        headers.insert(DIGEST_HEADER, digest.to_string());
        headers.insert(REFUSAL_HEADER, reason);
        let names = self.streams.names();
        self.store(names.quarantine(), names.quarantine_subject(DROPPED), headers.clone(), Vec::new())
            .await?;
        known.record(id, digest, Place::Quarantine, &headers, None);
        Ok(())
    }
}
