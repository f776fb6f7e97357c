//! `autovalidate models`: releases on the Hub.

use clap::Subcommand;
use jiff::Timestamp;

use crate::hub::{HubError, Version, versions};
use crate::run::roll_back;

use super::{CliError, CommandOutcome, print_json, repository};

/// Lists the releases on the Hub, or makes an older one live again.
///
/// Example: autovalidate models list
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists releases, newest first: which one is live, how good each is, and when it was live.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Makes an older version live again, by publishing it once more under a new name.
    ///
    /// Example: autovalidate models rollback 20261126125433
    Rollback {
        /// Version, as `models list` shows it.
        version: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let (settings, repository) = repository(matches!(args.command, Command::Rollback { .. }))?;
    match args.command {
        Command::List { json } => {
            let read = async { tokio::try_join!(repository.releases(), repository.index()) };
            let versions = match read.await {
                Ok((releases, index)) => versions(&releases, &index),
                // The first release creates the repo.
                Err(HubError::NoRepository { repo, .. }) if !json => {
                    println!("no releases yet: the Hub has no {repo}, or the token may not see it");
                    return Ok(CommandOutcome::Done);
                }
                Err(HubError::NoRepository { .. }) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            match json {
                true => print_json(&versions)?,
                false if versions.is_empty() => println!("no releases yet"),
                false => print(&versions),
            }
        }
        Command::Rollback { version, json } => {
            let beside = settings.data_dir.join("rollbacks");
            let done = Box::pin(roll_back(&repository, &version, &beside, Timestamp::now())).await?;
            let live = done.release.version();
            if json {
                print_json(&serde_json::json!({
                    "version": live,
                    "rollback_of": done.version,
                    "instead_of": done.instead_of,
                    "path": done.published.path,
                    "sha256": done.published.sha256,
                    "commit": done.published.commit,
                }))?;
            } else {
                println!("version {} is live again, as {live}, instead of {}", done.version, done.instead_of);
                println!("{} in commit {}", done.published.path, done.published.commit);
                println!("compute vectors of {} again: see models/index.json", done.instead_of);
            }
        }
    }
    Ok(CommandOutcome::Done)
}

fn print(versions: &[Version]) {
    println!(
        "{:<16} {:<12} {:<19} {:<19} {:>9}  was live (UTC)",
        "version", "verdict", "accuracy@1", "MRR@10", "size"
    );
    for version in versions {
        let change = |score: fn(&crate::hub::ReleaseScores) -> f64| match &version.metrics {
            Some(metrics) => format!("{:.3} -> {:.3}", score(&metrics.before), score(&metrics.after)),
            None => "-".to_owned(),
        };
        let verdict = version.verdict.as_deref().unwrap_or("-").replace('_', " ");
        let time = |time: Option<Timestamp>| match time {
            Some(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            None => "?".to_owned(),
        };
        let from = time(version.live_from);
        let mut span = match version.live {
            true => format!("since {from}  <- the backend loads this one"),
            false => format!("{from} to {}", time(version.live_until)),
        };
        if let Some(original) = &version.rollback_of {
            span.push_str(&format!("  (rollback of {original})"));
        }
        if version.removed {
            span.push_str("  (removed from the Hub)");
        }
        // Versions begin with a year. Whatever else an index names so is quoted, since it begins a line.
        let name = match version.version.starts_with(|first: char| first.is_ascii_digit()) {
            true => version.version.clone(),
            false => format!("{:?}", version.version),
        };
        println!(
            "{name:<16} {verdict:<12} {:<19} {:<19} {:>6.1} MB  {span}",
            change(|scores| scores.accuracy_at_1),
            change(|scores| scores.mrr_at_10),
            version.bytes as f64 / 1e6,
        );
    }
}
