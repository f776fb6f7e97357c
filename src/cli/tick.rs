//! `autovalidate tick`: one look from anywhere, for a scheduler.

use crate::broker::embedded::reachable;
use crate::settings::{Nats, Needs, Settings};
use crate::worker::{BrokerHandles, Tick};

use super::{CliError, CommandOutcome, on_running_broker, print_json};

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

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let mut settings = Settings::from_process(Needs { supabase: true, ..Needs::default() })?;
    if let Nats::Embedded { address, .. } = &settings.nats
        && tokio::net::TcpStream::connect((reachable(address.ip()), address.port())).await.is_ok()
    {
        settings.nats = on_running_broker(settings.nats);
    }
    let handles = BrokerHandles::open(&settings).await?;
    let tick = Box::pin(Tick::perform(&settings, &handles)).await;
    handles.streams.connection().close().await;
    let tick = tick?;
    if args.json {
        print_json(&tick)?;
        return Ok(CommandOutcome::Done);
    }
    if let Some(stored) = tick.stored {
        println!("{stored} new pairs");
    }
    match (&tick.job, tick.job_started) {
        (Some(job), true) => println!("started {job}"),
        (Some(job), false) => println!("{job} waits or is in progress"),
        (None, _) => println!("no job waits"),
    }
    if let Some(due) = tick.due {
        println!("the next run is due at {}: {}", due.at, due.reason);
    }
    if let Some(trainer) = tick.trainer {
        println!("{trainer}");
    }
    Ok(CommandOutcome::Done)
}
