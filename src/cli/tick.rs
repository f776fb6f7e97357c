//! `autovalidate tick`: one look from anywhere, for a scheduler.

use tokio_util::sync::CancellationToken;

use crate::settings::Needs;
use crate::worker::{BrokerHandles, Tick, TrainerLook};

use super::config::settings;
use super::signals::stop_on_signal;
use super::{CliError, CommandOutcome, on_broker_that_runs, print_json};

/// Looks once at everything that waits, and exits: sweeps the table, starts a run that is due, and
/// starts a trainer when a job waits.
///
/// Uses the broker of a running worker. With the embedded broker and no worker running, starts the
/// broker for this look.
///
/// Example: autovalidate tick --json
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
    let handles = BrokerHandles::open(&settings).await?;
    let tick = tokio::select! {
        tick = Box::pin(Tick::perform(&settings, &handles)) => tick.map_err(CliError::from),
        // Every step of a look may be interrupted: the next look finishes it.
        () = stop.cancelled() => Err(CliError::plain("the look was interrupted", "Run it again.")),
    };
    handles.streams.connection().close().await;
    let tick = tick?;
    match args.json {
        true => print_json(&tick)?,
        false => show(&tick),
    }
    match tick.trainer {
        Some(TrainerLook::Failed { not_before, error }) => {
            let (message, advice) = error.map(|error| (error.message, error.advice)).unwrap_or_default();
            Err(CliError::plain(
                format!("no trainer was started: {message}"),
                format!("{advice} The job stays queued, and the next start is not made before {not_before}."),
            ))
        }
        Some(TrainerLook::Up | TrainerLook::Waiting { .. } | TrainerLook::Started { .. }) | None => {
            Ok(CommandOutcome::Done)
        }
    }
}

/// Prints the result of a look.
fn show(tick: &Tick) {
    if let Some(stored) = tick.stored {
        println!("{stored} new pairs");
    }
    match (&tick.job, tick.job_started) {
        (Some(job), true) => println!("started {job}"),
        (Some(job), false) => println!("{job} waits or is in progress"),
        (None, _) => println!("no job waits"),
    }
    if let Some(due) = &tick.due {
        println!("the next run is due at {}: {}", due.at, due.reason);
    }
    match &tick.trainer {
        Some(TrainerLook::Up) => println!("a trainer is up"),
        Some(TrainerLook::Waiting { not_before }) => {
            println!("a start was made a short time ago; the next one is not before {not_before}");
        }
        Some(TrainerLook::Started { trainer }) => println!("{trainer}"),
        // The command's error says it.
        Some(TrainerLook::Failed { .. }) | None => {}
    }
}
