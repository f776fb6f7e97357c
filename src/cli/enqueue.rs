//! `autovalidate enqueue`: starts a run at once, as `nats pub training.jobs '{}'` does.

use crate::broker::JobRequest;

use super::{CliError, CommandOutcome, handles, print_json};

/// Starts a run at once, through the same queue as every other run.
///
/// Example: autovalidate enqueue --reason "after cleanup" --epochs 8
#[derive(clap::Args)]
pub(super) struct Args {
    /// Reason, kept in the run's record.
    #[arg(long)]
    reason: Option<String>,
    /// Release or Hub name to start from instead of the newest release; a folder only below
    /// BASE_MODEL_FOLDERS.
    #[arg(long)]
    base_model: Option<String>,
    /// Number of passes over the pairs.
    #[arg(long)]
    epochs: Option<u32>,
    /// Number of pairs in a batch.
    #[arg(long)]
    batch_size: Option<u32>,
    /// Peak learning rate.
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Does everything except publishing.
    #[arg(long)]
    dry_run: bool,
    /// Publishes even if the gate says no.
    #[arg(long)]
    force: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let request = JobRequest {
        reason: args.reason,
        base_model: args.base_model,
        epochs: args.epochs,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        dry_run: args.dry_run,
        force: args.force,
        ..JobRequest::default()
    };
    // Refused here as the worker would refuse it, so that the person sees the mistake at once.
    let body = serde_json::to_vec(&request).map_err(crate::broker::BrokerError::from)?;
    if let Err(refusal) = JobRequest::parse(&body) {
        return Err(CliError::argument(
            refusal.to_string(),
            "Correct the argument; see `autovalidate enqueue --help`.",
        ));
    }
    let handles = handles().await?;
    let id = handles.jobs.enqueue(&request).await?;
    handles.streams.connection().close().await;
    if args.json {
        print_json(&serde_json::json!({ "job": id }))?;
    } else {
        println!("enqueued {id}; follow it with: autovalidate runs show {id}");
    }
    Ok(CommandOutcome::Done)
}
