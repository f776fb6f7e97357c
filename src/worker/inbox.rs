//! The ingest's inbox: the pairs' stream, with the sweep's cursor beside it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::BrokerHandles;
use crate::broker::Records;
use crate::correction::Row;
use crate::corrections::{BurstLimit, Corrections, KnownNames, ScreeningRules};
use crate::failure::chain;
use crate::ingest::{
    Accepted, CatalogError, CatalogSource, Inbox, InboxError, Ingest, IngestTiming, RestError, TableAccess,
};
use crate::settings::Settings;

/// Key of the cursor in the bucket of state that survives a restart.
const CURSOR: &str = "sweep_cursor";

/// Id up to which the sweep has handed over every row.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Cursor {
    id: i64,
}

/// Age at which the catalog's names are read again, since a catalog grows.
const CATALOG_MAX_AGE: Duration = Duration::from_secs(3600);
/// Pause before the next try after the catalog could not be read again.
const CATALOG_RETRY_PAUSE: Duration = Duration::from_secs(60);

/// Inbox that stores rows on the pairs' stream.
#[derive(Debug)]
pub(super) struct DurableInbox {
    corrections: Corrections,
    cursors: Records<Cursor>,
    sources: ScreeningSources,
    /// Time at which the screening rules must be rebuilt; `None` until they are built.
    rules_due: Mutex<Option<Instant>>,
}

/// Sources of the rules that rows are screened by.
#[derive(Debug)]
struct ScreeningSources {
    catalog: Option<CatalogSource>,
    burst: Option<BurstLimit>,
    /// Project whose table may hold the catalog.
    access: TableAccess,
}

/// Returns the ingest of a table into the pairs' stream.
pub(super) fn ingest(
    settings: &Settings,
    handles: &BrokerHandles,
    access: TableAccess,
) -> Result<Ingest<DurableInbox>, RestError> {
    let inbox = DurableInbox {
        corrections: handles.corrections.clone(),
        cursors: handles.streams.state(),
        sources: ScreeningSources {
            catalog: settings.catalog.clone(),
            burst: settings.burst,
            access: access.clone(),
        },
        rules_due: Mutex::default(),
    };
    let timing = IngestTiming { sweep_every: settings.sweep_every, ..IngestTiming::default() };
    Ingest::new(access, Arc::new(inbox), timing)
}

impl DurableInbox {
    /// Rebuilds the screening rules when their names are too old. Before any names are read, no row
    /// is accepted, because it could not be screened later.
    async fn refresh_rules(&self) -> Result<(), CatalogError> {
        let mut due = self.rules_due.lock().await;
        if due.is_some_and(|due| Instant::now() < due) {
            return Ok(());
        }
        let ScreeningSources { catalog, burst, access } = &self.sources;
        let names = match catalog {
            None => None,
            Some(source) => match source.read(access).await {
                Ok(names) => Some(Arc::new(KnownNames::new(names))),
                Err(error) if due.is_some() => {
                    tracing::warn!(
                        error = chain(&error),
                        "the catalog can't be read again; the names read before stay in use"
                    );
                    *due = Some(Instant::now() + CATALOG_RETRY_PAUSE);
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
        };
        if let Some(names) = &names {
            tracing::info!(names = names.len(), "catalog read");
        }
        self.corrections.set_screen(ScreeningRules { names, burst: *burst }).await;
        *due = Some(Instant::now() + CATALOG_MAX_AGE);
        Ok(())
    }
}

impl Inbox for DurableInbox {
    async fn accept(&self, rows: &[Row]) -> Result<Accepted, InboxError> {
        self.refresh_rules().await.map_err(InboxError::new)?;
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
        let cursor = self.cursors.load(CURSOR).await.map_err(InboxError::new)?;
        Ok(cursor.map_or(0, |(cursor, _)| cursor.id))
    }

    async fn advance(&self, id: i64) -> Result<(), InboxError> {
        // Several listeners share the cursor, and it only ever grows.
        let advanced = self.cursors.update(CURSOR, |stored| match stored {
            Some(stored) if stored.id >= id => None,
            Some(_) | None => Some(Cursor { id }),
        });
        advanced.await.map_err(InboxError::new)
    }

    async fn swept(&self, took: Duration) -> Result<(), InboxError> {
        self.corrections.swept(took).await.map_err(InboxError::new)
    }
}
