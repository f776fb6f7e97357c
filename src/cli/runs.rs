//! `autovalidate runs`: run records, cancel and retry.

use clap::Subcommand;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::broker::{BrokerError, JobId, RunRecord, RunState, Runs};

use super::{CliError, CommandOutcome, handles, print_json, record};

/// Lists runs; shows, cancels, retries or replays one.
///
/// Example: autovalidate runs show pairs-1-200
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists runs, newest first.
    List {
        /// Number of runs to list; 0 lists all.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one run's record.
    Show {
        /// Id of the run.
        id: String,
    },
    /// Cancels a run that waits or is in progress.
    Cancel {
        /// Id of the run.
        id: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Puts a failed or cancelled run back on the queue, or one that a rollback kept from being
    /// published. The run continues from what it has recorded.
    Retry {
        /// Id of the run.
        id: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    Replay(super::replay::Args),
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    if let Command::Replay(args) = args.command {
        return Box::pin(super::replay::run(args)).await;
    }
    let handles = handles().await?;
    match args.command {
        Command::List { limit, json } => {
            let (runs, all) = newest(&handles.runs, limit).await?;
            if json {
                print_json(&runs)?;
            } else if runs.is_empty() {
                println!("no runs yet");
            } else {
                runs.iter().for_each(|run| println!("{}", line(run)));
                if !all {
                    println!("earlier runs are not shown; --limit 0 lists all");
                }
            }
        }
        Command::Show { id } => {
            print_json(&record(&handles, &id).await?)?;
        }
        Command::Cancel { id, json } => {
            // A run that waited has ended by now; one in progress ends later, if at all.
            let state = match handles.jobs.cancel(&job_id(&id)?).await? {
                RunState::Running => RunState::Running,
                _ => RunState::Cancelled,
            };
            match state {
                state if json => print_json(&json!({ "job": id, "state": state }))?,
                RunState::Running => println!("{id} is in progress and ends as soon as it can"),
                _ => println!("{id} is cancelled"),
            }
        }
        Command::Retry { id, json } => {
            handles.jobs.retry(&job_id(&id)?).await?;
            match json {
                true => print_json(&json!({ "job": id, "state": RunState::Queued }))?,
                false => println!("{id} is queued again; follow it with: autovalidate runs show {id}"),
            }
        }
        // Handled above: a replay needs no broker if everything it reads is on this disk.
        Command::Replay(_) => {}
    }
    handles.streams.connection().close().await;
    Ok(CommandOutcome::Done)
}

/// Number of records that are read at the same time.
const READS_IN_FLIGHT: usize = 16;

/// Returns the records of the newest runs, and true when there are no others. 0 stands for all runs.
async fn newest(runs: &Runs, limit: usize) -> Result<(Vec<RunRecord>, bool), BrokerError> {
    let wanted = if limit == 0 { usize::MAX } else { limit };
    let page = runs.page(None, wanted).await?;
    let all = page.earlier.is_none() && page.runs.len() <= wanted;
    let ids: Vec<JobId> = page.runs.into_iter().take(wanted).map(|run| run.id).collect();
    let records = futures::stream::iter(ids)
        .map(|id| async move {
            match runs.load(&id).await {
                Ok(found) => Ok(found.map(|(record, _)| record)),
                // One damaged record doesn't hide the others.
                Err(error @ BrokerError::Unreadable { .. }) => {
                    tracing::warn!(%error, "skipping an unreadable record");
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })
        .buffered(READS_IN_FLIGHT)
        .try_filter_map(|record| std::future::ready(Ok(record)));
    Ok((records.try_collect().await?, all))
}

/// Formats a run as one line.
pub(super) fn line(run: &RunRecord) -> String {
    let mut line = format!("{}  {}  {}", run.created_at.strftime("%Y-%m-%d %H:%M:%S"), run.id, run.state);
    if let Some(verdict) = &run.verdict {
        line.push_str(&format!("  {verdict}"));
    }
    if let Some(artifact) = &run.artifact {
        line.push_str(&format!("  {}", artifact.path));
    }
    if let Some(error) = &run.error {
        line.push_str(&format!("  {} ({})", error.message, error.advice));
    }
    line
}

/// Parses a run's id as a person typed it.
fn job_id(text: &str) -> Result<JobId, BrokerError> {
    Ok(text.parse::<JobId>()?)
}
