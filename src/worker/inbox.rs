//! Where the ingest's rows go: the pairs' stream, with the sweep's cursor beside it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::broker::{QueueError, Records, Revision, Streams};
use crate::correction::Row;
use crate::corrections::{BurstLimit, Corrections, KnownNames, ScreeningRules};
use crate::failure::chain;
use crate::ingest::{Accepted, CatalogError, CatalogSource, Inbox, InboxError, TableAccess};

/// Key of the cursor in the bucket of what must survive a restart.
const CURSOR: &str = "sweep_cursor";

/// How far the sweep has handed over everything.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Cursor {
    id: i64,
}

/// How old the catalog's names may be: a catalog grows.
const CATALOGUE_AGE: Duration = Duration::from_secs(3600);
/// How long a catalog that can't be read anew is not asked again.
const CATALOGUE_PAUSE: Duration = Duration::from_secs(60);

/// Keeps rows on the pairs' stream.
#[derive(Debug)]
pub(super) struct DurableInbox {
    corrections: Corrections,
    cursors: Records<Cursor>,
    hygiene: Hygiene,
    /// When the screen must be made anew; `None` until it is made.
    screen_due: Mutex<Option<Instant>>,
}

/// What rows are screened by.
#[derive(Debug)]
pub(super) struct Hygiene {
    pub(super) catalog: Option<CatalogSource>,
    pub(super) burst: Option<BurstLimit>,
    /// The project that a catalog's table is in.
    pub(super) access: TableAccess,
}

impl DurableInbox {
    pub(super) fn new(streams: &Streams, corrections: Corrections, hygiene: Hygiene) -> Self {
        Self { corrections, cursors: streams.state(), hygiene, screen_due: Mutex::default() }
    }

    /// Sees to it that rows are judged by names that are not too old. Without any names no row is taken in: it
    /// could not be judged later.
    async fn refresh_screen(&self) -> Result<(), CatalogError> {
        let mut due = self.screen_due.lock().await;
        if due.is_some_and(|due| Instant::now() < due) {
            return Ok(());
        }
        let Hygiene { catalog, burst, access } = &self.hygiene;
        let names = match catalog {
            None => None,
            Some(source) => match source.read(access).await {
                Ok(names) => Some(Arc::new(KnownNames::new(names))),
                Err(error) if due.is_some() => {
                    tracing::warn!(error = chain(&error), "the catalog is kept as it was read before");
                    *due = Some(Instant::now() + CATALOGUE_PAUSE);
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
        };
        if let Some(names) = &names {
            tracing::info!(names = names.len(), "catalog read");
        }
        self.corrections.set_screen(ScreeningRules { names, burst: *burst }).await;
        *due = Some(Instant::now() + CATALOGUE_AGE);
        Ok(())
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
        self.refresh_screen().await.map_err(InboxError::new)?;
        let appended = self.corrections.append(rows).await.map_err(InboxError::new)?;
        Ok(Accepted {
            stored: appended.stored as u64,
            duplicates: appended.duplicates as u64,
            refused: appended.refused as u64,
        })
    }

    async fn count_up_to(&self, last: i64) -> Result<u64, InboxError> {
        self.corrections.count_ids_up_to(last).await.map_err(InboxError::new)
    }

    async fn missing(&self, ids: &[i64]) -> Result<Vec<i64>, InboxError> {
        self.corrections.missing(ids).await.map_err(InboxError::new)
    }

    async fn cursor(&self) -> Result<i64, InboxError> {
        let cursor = self.load().await.map_err(InboxError::new)?;
        Ok(cursor.map_or(0, |(cursor, _)| cursor.id))
    }

    async fn advance(&self, id: i64) -> Result<(), InboxError> {
        self.store(id).await.map_err(InboxError::new)
    }
}
