//! The ingest's inbox: the pairs' stream, with the sweep's cursor beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::BrokerHandles;
use crate::broker::{BrokerError, Records};
use crate::catalog_row::CatalogRow;
use crate::correction::{Refusal, Row};
use crate::corrections::{Appended, BurstLimit, Corrections, KnownNames, ScreeningRules};
use crate::failure::chain;
use crate::ingest::{
    Accepted, CatalogError, CatalogSource, Inbox, InboxError, Ingest, IngestTiming, InsertPlace, Position,
    RestError, TableAccess,
};
use crate::postgres_time::PostgresTime;
use crate::row_identity::{KeptRow, KeptText, RowId};
use crate::run::erase_snapshots;
use crate::settings::Settings;

/// Key of the sweep's position in the bucket of state that survives a restart.
const POSITION: &str = "sweep_cursor";

/// Age at which the catalog's names are read again, since a catalog grows.
const CATALOG_MAX_AGE: Duration = Duration::from_secs(3600);
/// Pause before the next try after the catalog could not be read again.
const CATALOG_RETRY_PAUSE: Duration = Duration::from_secs(60);

/// Inbox that stores rows on the pairs' stream.
#[derive(Debug)]
pub(super) struct DurableInbox {
    corrections: Corrections,
    positions: Records<Position>,
    sources: ScreeningSources,
    /// Folder with the rows of runs, from which erased rows must go, too.
    data_dir: PathBuf,
    /// Time at which the screening rules must be rebuilt; `None` until they are built.
    rules_due: Mutex<Option<Instant>>,
}

/// Sources of the rules that rows are screened by.
#[derive(Debug)]
struct ScreeningSources {
    catalog: Option<CatalogSource>,
    /// Domains whose names may stand in columns of their own.
    domains: Vec<String>,
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
        positions: handles.streams.state(),
        sources: ScreeningSources {
            catalog: settings.catalog.clone(),
            domains: settings.templates.indexed_domains(),
            burst: settings.burst,
            access: access.clone(),
        },
        data_dir: settings.data_dir.clone(),
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
        let ScreeningSources { catalog, domains, burst, access } = &self.sources;
        let names = match catalog {
            None => None,
            Some(source) => match source.read(access, domains).await {
                Ok(rows) => Some(Arc::new(KnownNames::new(rows.iter().flat_map(CatalogRow::names)))),
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

/// Returns the span in which rows are stored; the trace of these rows begins with it.
fn store_span(rows: &[Row]) -> Span {
    tracing::info_span!("store rows", rows = rows.len())
}

impl Inbox for DurableInbox {
    async fn accept(&self, rows: &[Row]) -> Result<Accepted, InboxError> {
        self.refresh_rules().await.map_err(InboxError::new)?;
        if rows.is_empty() {
            return Ok(Accepted::default());
        }
        accepted(self.corrections.append_in_order(rows).instrument(store_span(rows)).await)
    }

    async fn accept_late(&self, rows: &[Row]) -> Result<Accepted, InboxError> {
        self.refresh_rules().await.map_err(InboxError::new)?;
        accepted(self.corrections.append(rows).instrument(store_span(rows)).await)
    }

    async fn replace(&self, rows: &[(KeptRow, Row)]) -> Result<Accepted, InboxError> {
        if rows.is_empty() {
            return Ok(Accepted::default());
        }
        self.refresh_rules().await.map_err(InboxError::new)?;
        accepted(self.corrections.replace(rows).await)
    }

    async fn refuse(&self, id: &RowId) -> Result<Accepted, InboxError> {
        accepted(self.corrections.refuse(id, Refusal::TooLong).await)
    }

    async fn remove(&self, rows: &[KeptRow]) -> Result<u64, InboxError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let removed = self.corrections.remove(rows).await.map_err(InboxError::new)?;
        let numbers = rows.iter().map(|kept| kept.number).collect();
        erase_snapshots(&self.data_dir, numbers).await.map_err(InboxError::new)?;
        Ok(removed as u64)
    }

    async fn kept(&self, ids: &[i64]) -> Result<Vec<KeptRow>, InboxError> {
        self.corrections.kept(ids).await.map_err(InboxError::new)
    }

    async fn kept_between(&self, after: i64, last: i64) -> Result<Vec<KeptRow>, InboxError> {
        self.corrections.kept_between(after, last).await.map_err(InboxError::new)
    }

    async fn text_ids_after(&self, after: i64, count: usize) -> Result<Vec<KeptText>, InboxError> {
        self.corrections.text_ids_after(after, count).await.map_err(InboxError::new)
    }

    async fn count_up_to(&self, last: i64) -> Result<u64, InboxError> {
        self.corrections.count_ids_up_to(last).await.map_err(InboxError::new)
    }

    async fn missing(&self, ids: &[i64]) -> Result<Vec<i64>, InboxError> {
        self.corrections.missing(ids).await.map_err(InboxError::new)
    }

    async fn position(&self) -> Result<Position, InboxError> {
        let stored = self.positions.load(POSITION).await.map_err(InboxError::new)?;
        Ok(stored.map_or_else(Position::default, |(position, _)| position))
    }

    async fn advance(&self, position: &Position) -> Result<(), InboxError> {
        // Several listeners share the position, and its cursor only ever grows within a series.
        let advanced = self.positions.update(POSITION, |stored| {
            let (series, cursor) = stored
                .map(|stored| (stored.series, stored.cursor))
                .max(Some((position.series, position.cursor)))?;
            let inserted =
                further(stored.and_then(|stored| stored.inserted.as_ref()), position.inserted.as_ref());
            let next = Position { series, cursor, inserted: inserted.cloned(), ..position.clone() };
            (stored != Some(&next)).then_some(next)
        });
        advanced.await.map_err(InboxError::new)
    }

    async fn swept(&self, took: Duration) -> Result<(), InboxError> {
        self.corrections.swept(took).await.map_err(InboxError::new)?;
        self.corrections.complete_erasures().await.map_err(InboxError::new)?;
        Ok(())
    }
}

/// Returns the further one of two places in the order of inserts, by their times. The database orders
/// rows of one moment, so of two such places either one will do: a sweep looks back.
fn further<'p>(stored: Option<&'p InsertPlace>, reached: Option<&'p InsertPlace>) -> Option<&'p InsertPlace> {
    let at = |place: &InsertPlace| PostgresTime::read(&place.at).map(|read| read.at);
    match (stored, reached) {
        (Some(stored), Some(reached)) if at(stored) > at(reached) => Some(stored),
        (stored, reached) => reached.or(stored),
    }
}

fn accepted(appended: Result<Appended, BrokerError>) -> Result<Accepted, InboxError> {
    let appended = appended.map_err(InboxError::new)?;
    Ok(Accepted {
        stored: appended.stored as u64,
        duplicates: appended.duplicates as u64,
        refused: appended.refused as u64,
        changed: appended.changed as u64,
        differing: appended.differing,
        late: appended.late,
        series: Some(appended.series),
    })
}
