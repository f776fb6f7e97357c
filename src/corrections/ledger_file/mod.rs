//! The ledger on disk, so that a start need not read every row from the broker.
//!
//! The file is a copy: the streams stay the truth. It says up to which message of each stream it was
//! read, and has a message of each by which the stream is recognized. A start takes the file if the streams
//! still have these messages, and reads what came later; otherwise it reads the streams from their beginning.
//! A missing, damaged or foreign file therefore costs time and nothing else.
//! [Decision 0095](../../../docs/decisions/0095-the-ledger-is-kept-on-disk.md) has the reasons.
//!
//! ```text
//! format       bytes of the file
//! stream_mark  part of a stream that was read, and how to recognize it
//! ```

mod format;
mod stream_mark;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OwnedMutexGuard;

use self::format::Header;
use self::stream_mark::StreamMark;
use super::{Corrections, StreamState};
use crate::broker::{BrokerError, Clock, blocking};
use crate::failure::chain;

const FILE_WORK: &str = "file work of the ledger";

/// Smallest number of messages after which the file is written anew.
const LEAST_MESSAGES: u64 = 1_000;
/// Part of all messages after which the file is written anew: so a row is written eight times in all, and a
/// start reads at most an eighth of the messages.
const PART_OF_MESSAGES: u64 = 8;
/// Time after which the file is written anew when a row in it was erased: it has a digest of the row's text,
/// and the row's id.
const ERASED_WITHIN: Duration = Duration::from_mins(10);

/// File that keeps the ledger for the next start.
#[derive(Debug, Clone)]
pub struct LedgerFile {
    path: PathBuf,
    least_messages: u64,
    erased_within: Duration,
}

/// What a process knows of the file.
#[derive(Debug, Default)]
pub(super) struct FileState {
    /// Number of messages of both streams in the file, and the time at which it was written, by the broker's
    /// clock. `None` before the first time.
    written: Option<(u64, Timestamp)>,
    /// True when a row that the file has was erased.
    pub(super) has_erased: bool,
}

impl LedgerFile {
    /// Returns the file at this path, which need not exist. Its folder is created with the file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), least_messages: LEAST_MESSAGES, erased_within: ERASED_WITHIN }
    }

    /// Returns a file that is written after at least `least_messages` messages, and `erased_within` after a
    /// row in it was erased.
    #[must_use]
    pub fn written_after(self, least_messages: u64, erased_within: Duration) -> Self {
        Self { least_messages, erased_within, ..self }
    }

    /// Reads the file into a ledger that has read nothing yet, if it is about these streams as they are now.
    pub(super) async fn load(
        &self,
        corrections: &Corrections,
        mut known: OwnedMutexGuard<StreamState>,
    ) -> Result<OwnedMutexGuard<StreamState>, BrokerError> {
        let path = self.path.clone();
        let loaded = match blocking(FILE_WORK, move || format::read(&path)).await? {
            Ok(loaded) => loaded,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(known),
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the ledger's file can't be used; reading all rows from the broker");
                self.remove().await?;
                return Ok(known);
            }
        };
        let (header, state) = loaded;
        if !header.is_of(corrections, state.ledger.len()).await? {
            let path = self.path.display();
            tracing::info!(%path, "the ledger's file is about other streams; reading all rows from the broker");
            self.remove().await?;
            return Ok(known);
        }
        let rules = std::mem::take(&mut known.rules);
        *known = StreamState { rules, ..state };
        known.file.written = Some((known.messages_read(), header.written));
        tracing::debug!(messages = known.messages_read(), "the ledger was read from its file");
        Ok(known)
    }

    /// Writes the file if that is due. A file that can't be written is tried again when it is due next.
    pub(super) async fn write_if_due(
        &self,
        corrections: &Corrections,
        mut known: OwnedMutexGuard<StreamState>,
    ) -> Result<OwnedMutexGuard<StreamState>, BrokerError> {
        let now = corrections.streams.clock().now();
        if !self.is_due(&known, now) {
            return Ok(known);
        }
        known.file.written = Some((known.messages_read(), now));
        let header = match Header::of(corrections, &known, now).await {
            Ok(Some(header)) => header,
            // The streams have lost rows. A start shall read what is left.
            Ok(None) => {
                self.remove().await?;
                known.file = FileState::default();
                return Ok(known);
            }
            Err(error) => {
                tracing::debug!(error = chain(&error), "the ledger's file is not written now");
                return Ok(known);
            }
        };
        let path = self.path.clone();
        // The lock is held, so that the file is of one moment.
        let (mut known, written) = blocking(FILE_WORK, move || {
            let written = format::write(&path, &header, &known);
            (known, written)
        })
        .await?;
        match written {
            Ok(()) => known.file.has_erased = false,
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the ledger's file can't be written; a start will take longer");
            }
        }
        Ok(known)
    }

    fn is_due(&self, known: &StreamState, now: Timestamp) -> bool {
        // Messages of erased rows are about to be deleted: a file of before would have a start look for them,
        // and might name one of them as the message to recognize a stream by.
        if known.undeleted != known.deleted {
            return false;
        }
        let read = known.messages_read();
        let (written, at) = known.file.written.unwrap_or((0, Timestamp::MIN));
        let grown = read.saturating_sub(written) >= self.least_messages.max(read / PART_OF_MESSAGES);
        let erased_within = SignedDuration::try_from(self.erased_within).unwrap_or(SignedDuration::MAX);
        let is_stale =
            known.file.has_erased && known.file.written.is_some() && now.duration_since(at) >= erased_within;
        grown || is_stale
    }

    /// Removes the file.
    pub(super) async fn remove(&self) -> Result<(), BrokerError> {
        let path = self.path.clone();
        match blocking(FILE_WORK, move || std::fs::remove_file(path)).await? {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "the ledger's file can't be removed");
            }
            Ok(()) | Err(_) => {}
        }
        Ok(())
    }
}

impl Header {
    /// Returns the header of a file with this state; `None` when the streams no longer have all of its rows.
    async fn of(
        corrections: &Corrections,
        known: &StreamState,
        written: Timestamp,
    ) -> Result<Option<Self>, BrokerError> {
        let marks = tokio::try_join!(
            StreamMark::of(corrections.streams.corrections(), known.corrections_read),
            StreamMark::of(corrections.streams.quarantine(), known.quarantine_read),
        )?;
        let ((pairs, one), (quarantine, other)) = marks;
        if known.ledger.len() > one.saturating_add(other) {
            return Ok(None);
        }
        Ok(Some(Self { table: corrections.table.to_string(), written, corrections: pairs, quarantine }))
    }

    /// Returns true when the streams still are those of which the file has a part. Each of its rows has a
    /// message: where there are fewer, somebody has emptied a stream.
    async fn is_of(&self, corrections: &Corrections, rows: u64) -> Result<bool, BrokerError> {
        let (pairs, quarantine) = tokio::try_join!(
            self.corrections.is_of(corrections.streams.corrections()),
            self.quarantine.is_of(corrections.streams.quarantine()),
        )?;
        let (Some(pairs), Some(quarantine)) = (pairs, quarantine) else { return Ok(false) };
        Ok(rows <= pairs.saturating_add(quarantine) && self.table == *corrections.table)
    }
}
