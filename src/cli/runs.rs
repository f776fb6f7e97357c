//! `autovalidate runs`: run records, cancel and retry.

use clap::Subcommand;

use crate::broker::{BrokerError, JobId, RunRecord, RunState};

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
    },
    /// Puts a failed or cancelled run back on the queue, or one that a rollback kept from being
    /// published. The run continues from what it has recorded.
    Retry {
        /// Id of the run.
        id: String,
    },
    Replay(super::replay::Args),
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    if let Command::Replay(args) = args.command {
        return Box::pin(super::replay::run(args)).await;
    }
    let handles = handles().await?;
    match args.command {
        Command::List { json } => {
            let runs = handles.runs.list().await?;
            if json {
                print_json(&runs)?;
            } else if runs.is_empty() {
                println!("no runs yet");
            } else {
                runs.iter().for_each(|run| println!("{}", line(run)));
            }
        }
        Command::Show { id } => {
            print_json(&record(&handles, &id).await?)?;
        }
        Command::Cancel { id } => match handles.jobs.cancel(&job_id(&id)?).await? {
            RunState::Running => println!("{id} is in progress and ends as soon as it can"),
            _ => println!("{id} is cancelled"),
        },
        Command::Retry { id } => {
            handles.jobs.retry(&job_id(&id)?).await?;
            println!("{id} is queued again; follow it with: autovalidate runs show {id}");
        }
        // Handled above: a replay needs no broker if everything it reads is on this disk.
        Command::Replay(_) => {}
    }
    handles.streams.connection().close().await;
    Ok(CommandOutcome::Done)
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
