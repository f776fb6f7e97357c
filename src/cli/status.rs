//! `autovalidate status`: status of the worker.

use super::{CliError, CommandOutcome, handles, print_json};

/// Shows pending pairs, the threshold, the current job and the last run.
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
    let status = handles.status().await?;
    let quarantined = handles.corrections.quarantined_counts().await?;
    handles.streams.connection().close().await;
    if args.json {
        let mut value = serde_json::to_value(&status).map_err(crate::broker::BrokerError::from)?;
        value["quarantined"] =
            serde_json::to_value(&quarantined).map_err(crate::broker::BrokerError::from)?;
        print_json(&value)?;
        return Ok(CommandOutcome::Done);
    }
    println!("{} of {} pairs wait for the next run", status.pending, status.threshold);
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
    if let Some(run) = status.last_run {
        println!("last run: {}", super::runs::line(&run));
    }
    Ok(CommandOutcome::Done)
}
