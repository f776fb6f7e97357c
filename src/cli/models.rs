//! `autovalidate models`: releases on the Hub.

use clap::Subcommand;
use serde_json::json;

use crate::hub::Repository;
use crate::settings::{Needs, Settings};

use super::{CliError, Ending, print_json};

/// Lists the releases on the Hub; the first is the one the backend loads.
///
/// Example: autovalidate models list
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists releases, newest first.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(args: Args) -> Result<Ending, CliError> {
    let settings = Settings::from_process(Needs { hub: true, ..Needs::default() })?;
    let Some(access) = settings.hub else {
        return Err(CliError::plain("HF_REPO is not set", "Set it to the model repository, owner/name."));
    };
    let releases = Repository::open(access)?.releases().await?;
    match args.command {
        Command::List { json: true } => {
            let rows: Vec<_> = releases
                .iter()
                .enumerate()
                .map(|(place, release)| {
                    json!({ "path": release.path(), "version": release.name.version(), "bytes": release.size, "live": place == 0 })
                })
                .collect();
            print_json(&rows)?;
        }
        Command::List { json: false } if releases.is_empty() => println!("no releases yet"),
        Command::List { json: false } => {
            for (place, release) in releases.iter().enumerate() {
                let mark = if place == 0 { "  <- the backend loads this one" } else { "" };
                println!("{}  {:.1} MB{mark}", release.path(), release.size as f64 / 1e6);
            }
        }
    }
    Ok(Ending::Done)
}
