//! `autovalidate status`: status of the worker.

use crate::broker::Clock;
use crate::launcher::StartState;
use crate::worker::Status;

use super::{CliError, CommandOutcome, handles, print_json};

/// Shows pending pairs, the next run that is due, the current job, and the last run.
///
/// Example: autovalidate status --json
#[derive(clap::Args)]
pub(super) struct Args {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let handles = handles().await?;
    let status = Status::collect(&handles).await?;
    let quarantined = handles.corrections.quarantined_counts().await?;
    let now = handles.streams.clock().now();
    handles.streams.connection().close().await;
    if args.json {
        let mut value = serde_json::to_value(&status).map_err(crate::broker::BrokerError::from)?;
        value["quarantined"] =
            serde_json::to_value(&quarantined).map_err(crate::broker::BrokerError::from)?;
        print_json(&value)?;
        return Ok(CommandOutcome::Done);
    }
    println!("{} of {} pairs wait for the next run", status.pending, status.threshold);
    if let Some(due) = status.due {
        let when = if due.at <= now { "now".to_owned() } else { format!("at {}", due.at) };
        println!("the next run is due {when}: {}", due.reason);
    }
    for (refusal, count) in quarantined {
        println!("{count} rows are kept out of training: {refusal}");
    }
    match &status.current_job {
        Some(job) => println!("working on {job}"),
        None => println!("no run in progress"),
    }
    for job in &status.queued {
        println!("waiting: {job}");
    }
    if status.queued_more > 0 {
        println!("waiting: {} more", status.queued_more);
    }
    if let Some(start) = &status.trainer_start {
        match (&start.error, start.state) {
            (Some(error), _) => {
                println!("no trainer was started for {}: {}", start.job, error.message);
                println!("  what to do: {}", error.advice);
                println!("  the next try is not before {}", start.not_before);
            }
            (None, StartState::Starting) => println!("a trainer is being started for {}", start.job),
            (None, StartState::Started | StartState::Failed) => {
                println!("last start of a trainer: at {} for {}", start.at, start.job);
                if status.queued.contains(&start.job) && !start.came_up {
                    println!("  no trainer is up yet; the next start is not before {}", start.not_before);
                }
            }
        }
    }
    if let Some(run) = status.last_run {
        println!("last run: {}", super::runs::line(&run));
    }
    Ok(CommandOutcome::Done)
}
