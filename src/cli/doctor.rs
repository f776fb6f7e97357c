//! `autovalidate doctor`: checks everything a worker needs, each as the worker itself would use it.

use std::time::Duration;

use crate::failure::{Failure, chain};
use crate::hub::Repository;
use crate::onnx::Runtime;
use crate::settings::{Needs, Settings};
use crate::supabase::Table;

use super::{CliError, Ending};

/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Checks the settings, the library, the table and the Hub.
///
/// Example: autovalidate doctor
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(_: Args) -> Result<Ending, CliError> {
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
    let library = Runtime::load(&settings.runtime_library, settings.threads);
    report("ONNX Runtime", library.map(|runtime| format!("{} threads", runtime.threads())).map_err(told));

    if let Some(access) = &settings.supabase {
        let rows = async { Table::new(access)?.page_after(0, 1).await };
        let found = tokio::time::timeout(PATIENCE, rows).await;
        report(
            "table",
            match found {
                Ok(Ok(page)) if page.rows.is_empty() && page.malformed.is_empty() => {
                    let advice = crate::supabase::sql::policies(access);
                    Err(("no row is visible: it is empty, or policies hide its rows".to_owned(), advice))
                }
                Ok(Ok(_)) => Ok(format!("{} can be read", access.table)),
                Ok(Err(error)) => Err(told(error)),
                Err(_) => Err(late()),
            },
        );
    }
    if let Some(access) = settings.hub {
        let repo = access.repo.clone();
        let releases = async { Repository::open(access)?.releases().await };
        let found = tokio::time::timeout(PATIENCE, releases).await;
        report(
            "Hub",
            match found {
                Ok(Ok(releases)) => Ok(format!("{repo} has {} releases", releases.len())),
                Ok(Err(error)) => Err(told(error)),
                Err(_) => Err(late()),
            },
        );
    }
    match failed {
        0 => Ok(Ending::Done),
        failed => Err(CliError::plain(format!("{failed} checks failed"), "Mend them in the order shown.")),
    }
}

fn told(error: impl Failure) -> (String, String) {
    (chain(&error), error.advice())
}

fn late() -> (String, String) {
    (format!("no answer within {PATIENCE:?}"), "Check the address and the network.".to_owned())
}
