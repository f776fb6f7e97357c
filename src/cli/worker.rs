//! `autovalidate worker`: listens, trains, or both, until a signal stops it.

use tokio_util::sync::CancellationToken;

use crate::settings::{Needs, Settings};
use crate::worker::{Role, Worker};

use super::{CliError, CommandOutcome};

/// Listens for corrections, trains when there are enough, and publishes a model that is better.
///
/// Example: SUPABASE_URL=.. SUPABASE_ANON_KEY=.. HF_TOKEN=.. HF_REPO=you/model autovalidate worker
#[derive(clap::Args)]
pub(super) struct Args {
    /// Role of this machine.
    #[arg(long, value_enum, default_value_t)]
    role: Role,
    /// Prints the settings in force with the source of each, secrets as ***, and exits.
    #[arg(long)]
    print_config: bool,
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let needs = Needs { supabase: args.role.listens(), hub: args.role.trains(), runtime: args.role.trains() };
    let settings = Settings::from_process(needs)?;
    if args.print_config {
        for setting in &settings.effective {
            println!("{} = {}  ({})", setting.setting, setting.value, setting.origin);
        }
        return Ok(CommandOutcome::Done);
    }
    let stop = CancellationToken::new();
    let worker = Box::pin(Worker::start(&settings, args.role, stop.clone())).await?;
    let signals = tokio::spawn(stop_on_signal(stop));
    let ended = Box::pin(worker.join()).await;
    signals.abort();
    ended?;
    Ok(CommandOutcome::Done)
}

/// Cancels `stop` on the first SIGINT or SIGTERM; a second signal ends the program at once.
pub(super) async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    // Both handlers are registered before the first await, so that no signal is lost
    // while another is handled.
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "signals can't be watched");
                return;
            }
        };
    for first in [true, false] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if first {
            tracing::info!("stopping; a second signal ends at once");
            stop.cancel();
        } else {
            std::process::exit(130);
        }
    }
}
