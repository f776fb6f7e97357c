//! `autovalidate adopt`: gives the streams to a project that has moved.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::{Connection, StreamSettings, Streams, worker_is_up};
use crate::settings::Needs;
use crate::worker::{BrokerHandles, stream_settings};

use super::config::settings;
use super::signals::stop_on_signal;
use super::{CliError, CommandOutcome, on_broker_that_runs, print_json};

/// Time in which a worker answers.
const WORKER_ANSWERS: Duration = Duration::from_secs(2);

/// Gives the streams on NATS, with all pairs and runs, to this project. Run it once when the project
/// has moved: another SUPABASE_URL, SUPABASE_SCHEMA or SUPABASE_TABLE.
///
/// A worker refuses the streams of another project. Stop the workers first. With the embedded
/// broker, this command starts the broker for as long as it needs it.
///
/// Example: SUPABASE_URL=.. SUPABASE_ANON_KEY=.. autovalidate adopt
#[derive(clap::Args)]
pub(super) struct Args {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, at_once: CancellationToken) -> Result<CommandOutcome, CliError> {
    let mut settings = settings(Needs { supabase: true, ..Needs::default() })?;
    settings.nats = on_broker_that_runs(settings.nats, &settings.data_dir).await?;
    let (stop, _signals) = stop_on_signal(at_once);
    let connection = BrokerHandles::connection(&settings).await?;
    let streams = stream_settings(&settings);
    let adopted = tokio::select! {
        adopted = Box::pin(adopt(&connection, &streams)) => adopted,
        // Adopting again finishes it.
        () = stop.cancelled() => Err(CliError::plain("the adoption was interrupted", "Run it again.")),
    };
    connection.close().await;
    let before = adopted?;
    let now = streams.project.as_ref().map(|project| project.description().to_owned());
    if args.json {
        print_json(&serde_json::json!({ "project": now, "before": before }))?;
        return Ok(CommandOutcome::Done);
    }
    let now = now.unwrap_or_default();
    match before {
        Some(before) if before == now => println!("the streams belong to {now} already"),
        Some(before) => println!("the streams belonged to {before}, and now belong to {now}"),
        None => println!("the streams had no owner, and now belong to {now}"),
    }
    Ok(CommandOutcome::Done)
}

/// Changes the owner marks, unless a worker runs that would go on for the other project.
async fn adopt(connection: &Connection, settings: &StreamSettings) -> Result<Option<String>, CliError> {
    let all = StreamSettings { takes_over: true, ..settings.clone() };
    let streams = Streams::existing(connection, &all).await?;
    if worker_is_up(&streams, WORKER_ANSWERS).await? {
        return Err(CliError::plain(
            "a worker is running on these streams",
            "Stop all workers, run this again, and start them with the new settings.",
        ));
    }
    Ok(Streams::adopt(connection, settings).await?)
}
