//! Where the ingest's rows go: the pairs' stream, with the sweep's cursor beside it.

use serde::{Deserialize, Serialize};

use crate::correction::Row;
use crate::queue::{Corrections, QueueError, Records, Revision, Streams};
use crate::supabase::{Accepted, Inbox, InboxError};

/// Key of the cursor in the bucket of what must survive a restart.
const CURSOR: &str = "sweep_cursor";

/// How far the sweep has handed over everything.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Cursor {
    id: i64,
}

/// Keeps rows on the pairs' stream.
#[derive(Debug)]
pub(super) struct DurableInbox {
    corrections: Corrections,
    cursors: Records<Cursor>,
}

impl DurableInbox {
    pub(super) fn new(streams: &Streams, corrections: Corrections) -> Self {
        Self { corrections, cursors: streams.state() }
    }

    async fn load(&self) -> Result<Option<(Cursor, Revision)>, QueueError> {
        self.cursors.load(CURSOR).await
    }

    /// Several listeners move one cursor; it only ever grows.
    async fn store(&self, id: i64) -> Result<(), QueueError> {
        loop {
            let changed = match self.load().await? {
                Some((cursor, _)) if cursor.id >= id => return Ok(()),
                Some((_, revision)) => self.cursors.save(CURSOR, &Cursor { id }, revision).await,
                None => self.cursors.create(CURSOR, &Cursor { id }).await,
            };
            match changed {
                Ok(_) => return Ok(()),
                Err(QueueError::Conflict { .. } | QueueError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Inbox for DurableInbox {
    async fn accept(&self, rows: &[Row]) -> Result<Accepted, InboxError> {
        let appended = self.corrections.append(rows).await.map_err(InboxError::new)?;
        Ok(Accepted {
            stored: appended.stored as u64,
            duplicates: appended.duplicates as u64,
            refused: appended.refused as u64,
        })
    }

    async fn cursor(&self) -> Result<i64, InboxError> {
        let cursor = self.load().await.map_err(InboxError::new)?;
        Ok(cursor.map_or(0, |(cursor, _)| cursor.id))
    }

    async fn advance(&self, id: i64) -> Result<(), InboxError> {
        self.store(id).await.map_err(InboxError::new)
    }
}
