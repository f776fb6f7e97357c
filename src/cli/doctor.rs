//! `autovalidate doctor`: checks everything that a worker needs, in the way the worker uses it.

use std::time::Duration;

use crate::broker::{Broker, BrokerError, Connection, Streams};
use crate::catalog_row::CatalogRow;
use crate::failure::{Failure, chain};
use crate::hub::Repository;
use crate::ingest::{Invisible, RestError, Table};
use crate::settings::{Nats, Needs, Settings};
use crate::templates::Templates;
use crate::worker::stream_settings;
use autovalidate_finetune::onnx::Runtime;

use super::{CliError, CommandOutcome};

/// Time that one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// Checks the settings, ONNX Runtime, a NATS server that somebody else runs, the table, Realtime,
/// the catalog, the Hub, and the start of trainers. Changes nothing.
///
/// Example: autovalidate doctor
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(_: Args) -> Result<CommandOutcome, CliError> {
    let settings = Settings::from_process(Needs { supabase: true, hub: true, runtime: true })?;
    println!("ok    settings");
    let mut failed = 0;
    let mut report = |what: &str, result: Result<String, (String, String)>| match result {
        Ok(found) => println!("ok    {what}: {found}"),
        Err((error, advice)) => {
            failed += 1;
            println!("FAIL  {what}: {error}\n      what to do: {advice}");
        }
    };
    let library = Runtime::load(&settings.runtime_library, settings.threads)
        .and_then(|runtime| runtime.on(settings.device));
    report(
        "ONNX Runtime",
        library.map(|runtime| format!("{}, {} threads", runtime.device(), runtime.threads())).map_err(told),
    );

    // An embedded server belongs to a worker, which starts it with its store.
    if let Nats::Remote(remote) = &settings.nats {
        let broker = Broker::Remote(remote.clone());
        let found = tokio::time::timeout(CHECK_TIMEOUT, Box::pin(nats(&broker, &settings))).await;
        report("NATS", found.unwrap_or_else(|_| Err(late())));
    }
    if let Some(access) = &settings.supabase {
        let rows = async {
            let table = Table::new(access)?;
            table.check().await?;
            Ok::<_, RestError>((table.count().await?, table.is_undated()))
        };
        let found = tokio::time::timeout(CHECK_TIMEOUT, rows).await;
        report(
            "table",
            match found {
                Ok(Ok((visible, undated))) => match (Invisible::of(access, visible, 0), undated) {
                    (Some(invisible), _) => Err(told(invisible)),
                    (None, false) => Ok(format!("{visible} rows of {} can be read", access.table)),
                    (None, true) => Ok(format!(
                        "{visible} rows of {} can be read; without the time of their insert, they count as \
                         written when they arrive",
                        access.table
                    )),
                },
                Ok(Err(error)) => Err(told(error)),
                Err(_) => Err(late()),
            },
        );
        let subscribed =
            tokio::time::timeout(CHECK_TIMEOUT, Box::pin(crate::ingest::subscribes(access))).await;
        report(
            "Realtime",
            match subscribed {
                Ok(Ok(())) => Ok(format!("row changes of {} can be subscribed to", access.table)),
                Ok(Err(end)) => Err(told(end)),
                Err(_) => Err(late()),
            },
        );
        if let Some(catalog) = &settings.catalog {
            let rows = catalog.read(access, &settings.templates.indexed_domains()).await;
            report("catalog", rows.map(|rows| counted(&rows, &settings.templates)).map_err(told));
        } else {
            let missing = "not set, so models learn only names that somebody has mistyped (setting CATALOG)";
            report("catalog", Ok(missing.to_owned()));
        }
    }
    if let Some(access) = settings.hub {
        let repo = access.repo.clone();
        let releases = async { Repository::open(access)?.releases().await };
        let found = tokio::time::timeout(CHECK_TIMEOUT, releases).await;
        report(
            "Hub",
            match found {
                Ok(Ok(releases)) => Ok(format!("{repo} has {} releases", releases.len())),
                Ok(Err(error)) => Err(told(error)),
                Err(_) => Err(late()),
            },
        );
    }
    if let Some(launcher) = crate::worker::launcher(&settings.trainer_start)? {
        let found = tokio::time::timeout(CHECK_TIMEOUT, launcher.check()).await;
        report(
            "trainer start",
            match found {
                Ok(found) => found.map_err(told),
                Err(_) => Err(late()),
            },
        );
    }
    match failed {
        0 => Ok(CommandOutcome::Done),
        1 => Err(CliError::plain("one check failed", "Fix it as shown, then run this again.")),
        failed => Err(CliError::plain(
            format!("{failed} checks failed"),
            "Fix them in the order shown, then run this again.",
        )),
    }
}

/// Connects as a worker does, and looks for the streams without creating them.
async fn nats(broker: &Broker, settings: &Settings) -> Result<String, (String, String)> {
    let connection = Connection::open(broker).await.map_err(told)?;
    let version = connection.client().server_info().version;
    let streams = Streams::existing(&connection, &stream_settings(settings)).await;
    connection.close().await;
    match streams {
        Ok(_) => Ok(format!("nats-server {version} answers and has the worker's streams")),
        Err(BrokerError::NotSetUp { name }) => Ok(format!(
            "nats-server {version} answers; {name} is not there yet, and a worker's start creates what is missing"
        )),
        Err(error) => Err(told(error)),
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

fn told(error: impl Failure) -> (String, String) {
    (chain(&error), error.advice())
}

fn late() -> (String, String) {
    (format!("no answer within {CHECK_TIMEOUT:?}"), "Check the address and the network.".to_owned())
}
