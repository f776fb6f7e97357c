//! `autovalidate models`: releases on the Hub.

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use crate::hub::{Digest, Entry, Index, Metrics, Release, Stamp};
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
            let (releases, index) = tokio::try_join!(repository.releases(), repository.index())?;
            let versions = versions(&releases, &index);
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

/// A version as shown in the list.
#[derive(Debug, Serialize)]
struct Version {
    version: String,
    path: String,
    /// True when the backend loads this version now.
    live: bool,
    /// True when the version's zip was deleted from the Hub.
    removed: bool,
    live_from: Option<Timestamp>,
    /// Time at which the next version replaced this one. `None` while this one is live, and
    /// when that time is unknown.
    live_until: Option<Timestamp>,
    rollback_of: Option<String>,
    verdict: Option<String>,
    metrics: Option<Metrics>,
    base_model: Option<String>,
    dimension: Option<usize>,
    weights_sha256: Option<Digest>,
    sha256: Option<Digest>,
    bytes: u64,
}

/// Returns all versions, newest first: those on the Hub, and those that were removed from it.
fn versions(releases: &[Release], index: &Index) -> Vec<Version> {
    let mut versions: Vec<Version> = releases
        .iter()
        .enumerate()
        .map(|(place, release)| {
            let mut version = Version::of(release.name.version(), release.path(), index.entry_of(release));
            (version.live, version.sha256, version.bytes) = (place == 0, release.sha256, release.size);
            version
        })
        .collect();
    let gone = |entry: &&Entry| releases.iter().all(|release| release.path() != entry.path);
    versions.extend(index.models.iter().filter(gone).map(|entry| Version {
        removed: true,
        sha256: entry.sha256,
        bytes: entry.size,
        ..Version::of(&entry.version, entry.path.clone(), Some(entry))
    }));
    versions.sort_by(|a, b| b.path.as_bytes().cmp(a.path.as_bytes()));
    for place in 1..versions.len() {
        versions[place].live_until = versions[place - 1].live_from;
    }
    versions
}

impl Version {
    fn of(version: &str, path: String, entry: Option<&Entry>) -> Self {
        // A release without an entry in the index went live at about the time in its name.
        let stamp = || version.parse::<Stamp>().ok().map(Stamp::time);
        Self {
            version: version.to_owned(),
            path,
            live: false,
            removed: false,
            live_from: entry.map(|entry| entry.published_at).or_else(stamp),
            live_until: None,
            rollback_of: entry.and_then(|entry| entry.rollback_of.clone()),
            verdict: entry.and_then(|entry| entry.verdict.clone()),
            metrics: entry.and_then(|entry| entry.metrics),
            base_model: entry.and_then(|entry| entry.base_model.clone()),
            dimension: entry.and_then(|entry| entry.dimension),
            weights_sha256: entry.and_then(|entry| entry.weights_sha256),
            sha256: None,
            bytes: 0,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_tells_what_was_live_when_and_what_is_gone() {
        let release = |version: &str| Release {
            name: format!("finetuned-embedding-model-{version}.zip").parse().unwrap(),
            size: 7,
            sha256: None,
            blob: None,
        };
        let index: Index = serde_json::from_value(serde_json::json!({
            "schema": 1,
            "models": [
                { "version": "20260103000000", "path": release("20260103000000").path(), "published_at": "2026-01-03T00:00:05Z",
                  "rollback_of": "20260101000000" },
                { "version": "20260102000000", "path": release("20260102000000").path(), "published_at": "2026-01-02T00:00:05Z" },
            ],
        }))
        .unwrap();
        let releases = [release("20260103000000"), release("20260101000000")];
        let versions = versions(&releases, &index);
        let times: Vec<_> = versions
            .iter()
            .map(|version| {
                let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
                (version.live, version.removed, time(version.live_from), time(version.live_until))
            })
            .collect();
        let text = str::to_owned;
        assert_eq!(
            times,
            [
                (true, false, text("2026-01-03T00:00:05Z"), String::new()),
                (false, true, text("2026-01-02T00:00:05Z"), text("2026-01-03T00:00:05Z")),
                (false, false, text("2026-01-01T00:00:00Z"), text("2026-01-02T00:00:05Z")),
            ]
        );
    }
}
