//! The demo of `dev --demo --serverless`: a week of a small shop on Fly.io, lived in minutes.
//!
//! Owns the events, the checks at the end, and the tables of costs. The machines are real processes
//! of this program, with a real nats-server; Supabase, the Hub and Fly are stand-ins.
//!
//! ```text
//! week.rs         the events of the week
//! waking.rs       a call that wakes a recipe, until it sleeps again
//! reasons.rs      the reason of each machine-second
//! store.rs        the broker's store, read while its machine is stopped
//! deployment.rs   a recipe on the stand-ins
//! environment.rs  environment of the machines
//! recipe.rs       the two recipes for Fly.io
//! prices.rs       prices of Fly.io
//! costs.rs        the closing tables
//! ```

mod costs;
mod deployment;
mod environment;
mod prices;
mod reasons;
mod recipe;
mod store;
mod waking;
mod week;

use std::path::Path;
use std::time::Duration;

use autovalidate_fakes::demo::{Correction, corrections};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::costs::LivedWeek;
use self::deployment::{Deployment, absolute, own_program};
use super::signals::Signals;
use super::{CliError, CommandOutcome};

pub(super) use recipe::Recipe;

/// Idle time of the machines. The recipes have a longer one; this is the shortest that a worker
/// takes.
const IDLE: Duration = crate::worker::SHORTEST_IDLE;

/// Settings of the demo.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeekSettings {
    /// The only recipe to live with; both when not set.
    pub(super) only: Option<Recipe>,
    /// Number of pairs that start a run.
    pub(super) threshold: u64,
    /// Seed of the corrections.
    pub(super) seed: u64,
    /// Time beyond the idle time in which a machine must have ended: two checks of a second each,
    /// the end of requests in progress, and the end of the broker.
    pub(super) stop_margin: Duration,
}

/// Lives the week with one recipe, or with both, and prints what it costs.
pub(super) async fn run(settings: WeekSettings, folder: &Path) -> Result<CommandOutcome, CliError> {
    let WeekSettings { only, threshold, seed, stop_margin } = settings;
    let stop = CancellationToken::new();
    let _signals = AbortOnDropHandle::new(tokio::spawn(cancel_on_signal(stop.clone())));
    let (program, folder) = (own_program()?, absolute(folder)?);
    // One more than the threshold: the row that gets lost.
    let count = usize::try_from(threshold).unwrap_or(usize::MAX).saturating_add(1);
    let pairs = corrections(seed, count);
    println!("A week of a small shop on Fly.io, in minutes. The machines are processes of this computer.");
    println!("Supabase, the Hub and Fly.io are stand-ins; a worker and its nats-server are real.");
    println!("The first column is the time that has passed here; the second is the shop's week.");
    let mut weeks: Vec<LivedWeek> = Vec::new();
    for recipe in Recipe::ALL {
        if only.is_none_or(|only| only == recipe) {
            let deployment =
                Deployment::start(recipe, threshold, &program, &folder.join(recipe.name()), stop_margin)
                    .await?;
            let lived = live(deployment, &pairs, &stop).await?;
            weeks.push((recipe, lived));
        }
    }
    costs::print(&weeks);
    Ok(CommandOutcome::Done)
}

/// Lives the week with one recipe. Nothing runs when this returns, whatever the result.
async fn live(
    deployment: Deployment,
    pairs: &[Correction],
    stop: &CancellationToken,
) -> Result<week::WeekRecord, CliError> {
    let recipe = deployment.recipe;
    println!();
    println!("Recipe {} ({}):", recipe.name(), recipe.file());
    for group in recipe.groups() {
        let (name, role, size) = (group.name, group.role, group.size.name());
        println!("  {name:<9} {size}: worker --role {role} --exit-when-idle {}s", IDLE.as_secs());
    }
    let lived = tokio::select! {
        () = stop.cancelled() => Err(CliError::plain("the demo was interrupted", "Start it again.")),
        lived = Box::pin(week::live(&deployment, pairs)) => lived,
    };
    Box::pin(deployment.shutdown()).await;
    lived
}

/// Cancels `stop` on the first signal. Later ones change nothing: the machines are being stopped,
/// which takes less than a minute, and a process that is ended in between would leave them running.
async fn cancel_on_signal(stop: CancellationToken) {
    let mut signals = match Signals::register() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "signals can't be watched");
            return;
        }
    };
    signals.next().await;
    eprintln!("stopping the machines");
    stop.cancel();
    // The handlers stay in place as long as this task.
    std::future::pending().await
}
