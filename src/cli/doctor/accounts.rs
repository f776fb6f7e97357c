//! Checks of the services that a worker uses: the table, Realtime, the catalog, the Hub, and NATS.

use tokio::time::timeout;

use super::CHECK_TIMEOUT;
use super::finding::Finding;
use crate::broker::{Broker, BrokerError, Connection, Streams};
use crate::catalog_row::CatalogRow;
use crate::hub::{HubAccess, HubError, Repository, TokenRole};
use crate::ingest::{Invisible, RestError, Table, TableAccess};
use crate::settings::Settings;
use crate::templates::Templates;
use crate::worker::stream_settings;

/// Reads a row of the table as a sweep does, and counts the rows.
pub(super) async fn table(access: &TableAccess) -> Finding {
    const CHECK: &str = "table";
    let rows = async {
        let table = Table::new(access)?;
        table.check().await?;
        Ok::<_, RestError>((table.count().await?, table.is_undated()))
    };
    let (visible, undated) = match timeout(CHECK_TIMEOUT, rows).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Finding::of(CHECK, &error),
        Err(_) => return Finding::late(CHECK),
    };
    let found = format!("{visible} rows of {} can be read", access.table);
    match Invisible::of(access, visible, 0) {
        // Most tables are empty at first, and the answer for hidden rows is the same.
        Some(invisible) => {
            let Finding { found, advice, .. } = Finding::of(CHECK, &invisible);
            Finding::note(CHECK, found, advice.unwrap_or_default())
        }
        None if undated => Finding::ok(
            CHECK,
            format!("{found}; without the time of their insert, they count as written when they arrive"),
        ),
        None => Finding::ok(CHECK, found),
    }
}

/// Subscribes to the table's changes.
pub(super) async fn realtime(access: &TableAccess) -> Finding {
    const CHECK: &str = "Realtime";
    match timeout(CHECK_TIMEOUT, Box::pin(crate::ingest::subscribes(access))).await {
        Ok(Ok(())) => Finding::ok(CHECK, format!("row changes of {} can be subscribed to", access.table)),
        Ok(Err(end)) => Finding::of(CHECK, &end),
        Err(_) => Finding::late(CHECK),
    }
}

/// Reads the catalog.
pub(super) async fn catalog(settings: &Settings) -> Finding {
    const CHECK: &str = "catalog";
    let Some(names) = settings.names() else {
        return Finding::note(
            CHECK,
            "not set, so models learn only names that somebody has mistyped",
            "Set CATALOG to a file or table of all names.",
        );
    };
    match timeout(CHECK_TIMEOUT, names.read()).await {
        Ok(Ok(rows)) => Finding::ok(CHECK, counted(&rows, &settings.templates)),
        Ok(Err(error)) => Finding::of(CHECK, &error),
        Err(_) => Finding::late(CHECK),
    }
}

/// Describes the rows of a catalog.
fn counted(rows: &[CatalogRow], templates: &Templates) -> String {
    let names: usize = rows.iter().map(|row| row.names().len()).sum();
    let texts = rows.iter().flat_map(|row| row.names().map(move |(domain, _)| (domain, row)));
    match texts.filter_map(|(domain, row)| templates.render_indexed(domain, row)).count() {
        0 => format!("{names} names, indexed alone"),
        texts => format!("{names} names in {} rows, indexed by {texts} texts", rows.len()),
    }
}

/// Lists the releases, and asks what the token may do. Writes nothing.
pub(super) async fn hub(access: HubAccess) -> Finding {
    const CHECK: &str = "Hub";
    let repo = access.repo.clone();
    let looked = async {
        let repository = Repository::open(access)?;
        let role = repository.token_role().await?;
        Ok::<_, HubError>((role, repository.releases().await))
    };
    let (role, releases) = match timeout(CHECK_TIMEOUT, looked).await {
        Ok(Ok(looked)) => looked,
        Ok(Err(error)) => return Finding::of(CHECK, &error),
        Err(_) => return Finding::late(CHECK),
    };
    if role == TokenRole::Read {
        let advice = "Set HF_TOKEN to a token with write access; each run would end at its publication.";
        return Finding::failed(CHECK, "the token may only read", advice);
    }
    match releases {
        Ok(releases) => Finding::ok(CHECK, format!("{repo} has {} releases", releases.len())),
        Err(HubError::NoRepository { .. }) => {
            let advice = format!("The first publication makes {repo}, a private repo, if the token may.");
            Finding::note(CHECK, format!("{repo} is not there yet"), advice)
        }
        Err(error) => Finding::of(CHECK, &error),
    }
}

/// Connects to a NATS server of others as a worker does, and looks for the streams without creating them.
pub(super) async fn nats(broker: Broker, settings: &Settings) -> Finding {
    const CHECK: &str = "NATS";
    let looked = async {
        let connection = Connection::open(&broker).await?;
        let version = connection.client().server_info().version;
        let streams = Streams::existing(&connection, &stream_settings(settings)).await;
        connection.close().await;
        Ok::<_, BrokerError>((version, streams.map(drop)))
    };
    match timeout(CHECK_TIMEOUT, Box::pin(looked)).await {
        Ok(Ok((version, Ok(())))) => {
            Finding::ok(CHECK, format!("nats-server {version} answers and has the worker's streams"))
        }
        Ok(Ok((version, Err(BrokerError::NotSetUp { name })))) => Finding::ok(
            CHECK,
            format!(
                "nats-server {version} answers; {name} is not there yet, and a worker's start creates what is missing"
            ),
        ),
        Ok(Ok((_, Err(error))) | Err(error)) => Finding::of(CHECK, &error),
        Err(_) => Finding::late(CHECK),
    }
}
