//! The versions of a repo in the order of their release: on the Hub, or removed from it.

use jiff::Timestamp;
use serde::Serialize;

use super::digest::Digest;
use super::index::{Entry, Index, Metrics};
use super::release::{Release, Stamp};

/// A version with what is known of it, for lists.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Version {
    /// Stamp in the release's name.
    pub version: String,
    /// Path of the zip in the repo.
    pub path: String,
    /// True when the backend loads this version now.
    pub live: bool,
    /// True when the version's zip was deleted from the Hub.
    pub removed: bool,
    /// Time at which the version went live.
    pub live_from: Option<Timestamp>,
    /// Time at which the next version replaced this one. `None` while this one is live, and
    /// when that time is unknown.
    pub live_until: Option<Timestamp>,
    /// Version whose model this one repeats, for a rollback.
    pub rollback_of: Option<String>,
    /// Verdict of the gate.
    pub verdict: Option<String>,
    /// Scores on all held-out typos.
    pub metrics: Option<Metrics>,
    /// Model that training started from.
    pub base_model: Option<String>,
    /// Length of the model's vectors.
    pub dimension: Option<usize>,
    /// SHA-256 of the weights.
    pub weights_sha256: Option<Digest>,
    /// SHA-256 of the zip.
    pub sha256: Option<Digest>,
    /// Length of the zip in bytes.
    pub bytes: u64,
}

/// Returns all versions, newest first: those on the Hub, and those that were removed from it.
pub fn versions(releases: &[Release], index: &Index) -> Vec<Version> {
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
