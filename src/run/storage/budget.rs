//! The budget of the data directory: what can be made or downloaded again is removed, oldest first, until
//! the rest fits.
//!
//! ```text
//! <data dir>/jobs/<job>/          what a failed run left: a retry makes it again
//! <data dir>/models/<name>/       models: downloaded again
//! <data dir>/snapshots/<hash>     rows of runs: a replay reads them from the stream
//! ```
//!
//! The broker's store counts for nothing here: it has a limit of its own. Lists of names stay, because
//! they are stored nowhere else.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::run::error::RunError;

use super::files::{entries, remove_folder};
use super::model_folders::models;
use super::run_dir::jobs;
use super::snapshots::snapshots;

/// Time since the last change of a file during which another process may be at work on it.
const IN_USE: Duration = Duration::from_secs(3600);

/// A file or folder that can be made again.
struct Replaceable {
    path: PathBuf,
    bytes: u64,
    changed: SystemTime,
}

/// Removes what can be made again, oldest first, until the rest takes at most `budget` bytes. What was
/// changed within the last hour stays, and so does `own`, the folder of a run.
pub(in crate::run) fn keep_within(
    data_dir: &Path,
    budget: u64,
    own: &Path,
    now: SystemTime,
) -> Result<(), RunError> {
    let mut replaceable = Vec::new();
    for folder in [jobs(data_dir), models(data_dir), snapshots(data_dir)] {
        for path in entries(&folder)? {
            let (bytes, changed) = extent(&path);
            replaceable.push(Replaceable { path, bytes, changed });
        }
    }
    let mut taken: u64 = replaceable.iter().map(|each| each.bytes).sum();
    if taken <= budget {
        return Ok(());
    }
    replaceable.sort_by_key(|each| each.changed);
    for Replaceable { path, bytes, changed } in replaceable {
        let is_in_use = now.duration_since(changed).is_ok_and(|age| age < IN_USE);
        if taken <= budget || is_in_use || path == own {
            continue;
        }
        let removed = match path.is_dir() {
            true => remove_folder(&path),
            false => std::fs::remove_file(&path).map_err(RunError::file("remove", &path)),
        };
        match removed {
            Ok(()) => {
                tracing::info!(path = %path.display(), bytes, "removed to keep the data directory within its budget");
                taken -= bytes;
            }
            Err(error) => tracing::warn!(%error, path = %path.display(), "can't be removed"),
        }
    }
    if taken > budget {
        tracing::warn!(
            taken,
            budget,
            "the data directory is over its budget, and everything in it is in use; raise DATA_BUDGET"
        );
    }
    Ok(())
}

/// Returns the size of a file or folder, and the time of its last change. What can't be read counts as
/// empty and old.
fn extent(path: &Path) -> (u64, SystemTime) {
    let Ok(metadata) = path.symlink_metadata() else { return (0, SystemTime::UNIX_EPOCH) };
    let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    if !metadata.is_dir() {
        return (metadata.len(), changed);
    }
    entries(path)
        .unwrap_or_default()
        .iter()
        .map(|path| extent(path))
        .fold((0, changed), |(sum, newest): (u64, SystemTime), (bytes, changed)| {
            (sum + bytes, newest.max(changed))
        })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    /// Writes a file of this size that was last changed some hours ago, in a folder of that age.
    fn file(path: &Path, bytes: usize, hours: u64, now: SystemTime) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![0; bytes]).unwrap();
        let changed = now - Duration::from_hours(hours);
        File::open(path).unwrap().set_modified(changed).unwrap();
        File::open(path.parent().unwrap()).unwrap().set_modified(changed).unwrap();
    }

    #[test]
    fn the_oldest_goes_first_and_what_is_in_use_or_nowhere_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (data, now) = (folder.path(), SystemTime::now());
        let files = [
            ("jobs/own/model.zip", 500, 90),
            ("jobs/failed/model.zip", 300, 80),
            ("models/old/weights", 200, 70),
            ("models/used/weights", 400, 0),
            ("snapshots/a.jsonl", 100, 60),
            ("names/list.jsonl", 900, 99),
            ("nats/store", 900, 99),
        ];
        for (path, bytes, hours) in files {
            file(&data.join(path), bytes, hours, now);
        }
        let own = data.join("jobs/own");
        let left = |budget| {
            keep_within(data, budget, &own, now).unwrap();
            let all = files.iter().map(|(path, ..)| *path);
            all.filter(|path| data.join(path).exists()).collect::<Vec<_>>()
        };
        assert_eq!(left(1_500).len(), 7, "within the budget");
        let without_failed = left(1_499);
        assert!(!without_failed.contains(&"jobs/failed/model.zip") && without_failed.len() == 6);
        assert!(!data.join("jobs/failed").exists());
        assert_eq!(
            left(1_001),
            [
                "jobs/own/model.zip",
                "models/used/weights",
                "snapshots/a.jsonl",
                "names/list.jsonl",
                "nats/store"
            ]
        );
        assert_eq!(left(0), ["jobs/own/model.zip", "models/used/weights", "names/list.jsonl", "nats/store"]);
    }
}
