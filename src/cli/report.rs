//! `autovalidate report`: a run's report as text and as a page.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::report::{RunReport, RunReportError, page};

use super::{CliError, CommandOutcome, handles, print_json, print_text};

/// Shows what a run learned and how it was judged, as text and as a page with plots.
///
/// Example: autovalidate report pairs-1-600 --html report.html
#[derive(clap::Args)]
pub(super) struct Args {
    /// Id of a run, or a file: a receipt (training_report.json) or the output of `train --report`.
    run: String,
    /// File for a self-contained page with plots.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let run = match Path::new(&args.run).is_file() {
        true => {
            let text = std::fs::read(&args.run).map_err(|source| CliError::Plain {
                what: format!("cannot read {}", args.run),
                advice: "Give a run's id or the file of a receipt.".to_owned(),
                source: Some(source.into()),
            })?;
            RunReport::from_json(&text).map_err(told)?
        }
        false => Box::pin(of_run(&args.run)).await?,
    };
    if args.json {
        print_json(&run)?;
    } else {
        print_text(&format!("{run}\n"))?;
    }
    if let Some(path) = &args.html {
        super::write_file(path, page(&run).as_bytes())?;
        eprintln!("wrote {}", path.display());
    }
    Ok(CommandOutcome::Done)
}

async fn of_run(id: &str) -> Result<RunReport, CliError> {
    let unknown = || {
        CliError::plain(
            format!("there is no run and no file {id:?}"),
            "`autovalidate runs list` shows all runs.",
        )
    };
    let id = id.parse().map_err(|_| unknown())?;
    let handles = handles().await?;
    let found = handles.runs.load(&id).await?;
    handles.streams.connection().close().await;
    let (record, _) = found.ok_or_else(unknown)?;
    RunReport::of(&record).map_err(told)
}

fn told(error: RunReportError) -> CliError {
    CliError::Plain {
        what: "can't show a report".to_owned(),
        advice: error.advice(),
        source: Some(error.into()),
    }
}
