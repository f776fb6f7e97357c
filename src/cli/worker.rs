//! `autovalidate worker`: listens, trains, or both, until a signal stops it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::settings::Needs;
use crate::worker::{Role, SHORTEST_IDLE, Worker, WorkerOptions};

use super::config::settings_with;
use super::signals::stop_on_signal;
use super::{CliError, CommandOutcome, print_json};

/// Listens for corrections, trains when there are enough, and publishes a model that is better.
///
/// Example: SUPABASE_URL=.. SUPABASE_ANON_KEY=.. HF_TOKEN=.. HF_REPO=you/model autovalidate worker
#[derive(clap::Args)]
pub(super) struct Args {
    /// Role of this machine.
    #[arg(long, value_enum, default_value_t)]
    role: Role,
    /// Exits with code 0 after this time without work, such as 2m; at least 10s.
    #[arg(long, value_name = "TIME", value_parser = idle_time)]
    exit_when_idle: Option<Duration>,
    /// NATS server of this machine, in place of NATS_URL: a URL, several with commas, or `embedded`.
    #[arg(long, value_name = "URL")]
    nats_url: Option<String>,
    /// Prints every setting with its value in force and the source of that, secrets as ***, and exits.
    #[arg(long)]
    print_config: bool,
    /// With --print-config: prints JSON.
    #[arg(long, requires = "print_config")]
    json: bool,
}

/// Parses the value of `--exit-when-idle`.
fn idle_time(text: &str) -> Result<Duration, String> {
    let time = text.parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    match time {
        Some(time) if time >= SHORTEST_IDLE => Ok(time),
        Some(time) => Err(format!(
            "{time:?} is too short: pairs of one form come within seconds, so give at least {SHORTEST_IDLE:?}"
        )),
        None => Err("give a time such as 30s, 2m or 1h".to_owned()),
    }
}

pub(super) async fn run(args: Args, at_once: CancellationToken) -> Result<CommandOutcome, CliError> {
    let needs = Needs { supabase: args.role.listens(), hub: args.role.trains(), runtime: args.role.trains() };
    let settings = settings_with(needs, &|name| match name {
        "NATS_URL" => args.nats_url.clone(),
        _ => None,
    })?;
    if args.print_config {
        match args.json {
            true => print_json(&settings.effective)?,
            false => settings.effective.iter().for_each(|setting| println!("{setting}")),
        }
        return Ok(CommandOutcome::Done);
    }
    let options =
        WorkerOptions { role: args.role, exit_when_idle: args.exit_when_idle, ..WorkerOptions::default() };
    // Signals are handled from here on: their default action would leave nats-server behind. A stop
    // during the start ends the worker right after it, with its nats-server.
    let (stop, _signals) = stop_on_signal(at_once);
    let worker = Box::pin(Worker::start(&settings, options, stop)).await?;
    Box::pin(worker.join()).await?;
    Ok(CommandOutcome::Done)
}
