//! The folder that a run writes into. The folder stays until the run has ended, so that the next
//! attempt finds the finished results of earlier ones.
//!
//! ```text
//! <data dir>/jobs/<job>/attempt-<n>/   an attempt's unfinished work; removed by the next one
//! <data dir>/jobs/<job>/checkpoint/    the last checkpoint of the training
//! <data dir>/jobs/<job>/<release>.zip  the finished zip
//! <data dir>/jobs/<job>/README.md      the model card of the zip
//! <data dir>/jobs/<job>/receipt.json   the receipt of the zip
//! <data dir>/jobs/<job>/error.json     the error of an attempt that could not record it
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::broker::{JobId, PackageRecord};
use crate::hub::{Digest, LiveRelease};

use crate::run::error::RunError;

use super::files::{entries, place, remove_folder, replace};

/// Age after which an unchanged folder belongs to an abandoned run, which nobody will retry.
const ABANDONED: Duration = Duration::from_secs(14 * 24 * 3600);
/// Name prefix of an attempt's folder.
const ATTEMPT: &str = "attempt-";
/// Name of the folder of checkpoints.
const CHECKPOINT: &str = "checkpoint";
/// Name of the model card beside the zip.
const CARD: &str = "README.md";
/// Name of the receipt beside the zip.
const RECEIPT: &str = "receipt.json";

/// Text files that are published with a zip: the model card and the receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct Companions {
    pub(in crate::run) card: String,
    pub(in crate::run) receipt: String,
}

/// Folder that a run writes into.
#[derive(Debug, Clone)]
pub(in crate::run) struct RunDir {
    folder: PathBuf,
    attempt: u64,
}

/// Returns the folder of all runs.
pub(super) fn jobs(data_dir: &Path) -> PathBuf {
    data_dir.join("jobs")
}

/// Returns the folder of a run.
pub(super) fn folder_of(data_dir: &Path, job: &JobId) -> PathBuf {
    jobs(data_dir).join(job.as_str())
}

impl RunDir {
    /// Opens a run's folder for an attempt. Removes the unfinished work of earlier attempts; their
    /// finished results stay.
    pub(in crate::run) fn open(data_dir: &Path, job: &JobId, attempt: u64) -> Result<Self, RunError> {
        let run_dir = Self { folder: folder_of(data_dir, job), attempt };
        std::fs::create_dir_all(&run_dir.folder).map_err(RunError::file("make", &run_dir.folder))?;
        for path in entries(&run_dir.folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(ATTEMPT) {
                remove_folder(&path)?;
            }
        }
        let attempt = run_dir.attempt_folder();
        std::fs::create_dir_all(&attempt).map_err(RunError::file("make", &attempt))?;
        Ok(run_dir)
    }

    /// Returns the run's folder.
    pub(in crate::run) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the folder for this attempt's unfinished work.
    pub(in crate::run) fn attempt_folder(&self) -> PathBuf {
        self.folder.join(format!("{ATTEMPT}{}", self.attempt))
    }

    /// Returns the folder of checkpoints, which the next attempt continues from.
    pub(in crate::run) fn checkpoints(&self) -> PathBuf {
        self.folder.join(CHECKPOINT)
    }

    /// Moves a finished zip and its companions out of the attempt's folder. The zip is moved last,
    /// so a zip that is in place is complete and has its companions.
    pub(in crate::run) fn store_package(
        &self,
        zip: &Path,
        release: &str,
        companions: &Companions,
        live: Option<LiveRelease>,
    ) -> Result<PackageRecord, RunError> {
        for (name, text) in [(CARD, &companions.card), (RECEIPT, &companions.receipt)] {
            replace(&self.folder.join(name), text.as_bytes())?;
        }
        let (sha256, size) = Digest::of_file(zip).map_err(RunError::file("read", zip))?;
        place(zip, &self.folder.join(release))?;
        let (instead_of, instead_of_content) =
            live.map(|live| (String::from(live.name), live.content)).unzip();
        Ok(PackageRecord {
            release: release.to_owned(),
            sha256: sha256.to_string(),
            size,
            instead_of,
            instead_of_content: instead_of_content.flatten(),
        })
    }

    /// Returns the zip that an earlier attempt has finished, with its companions; `None` unless all
    /// of them are on this disk and the zip matches its record.
    pub(in crate::run) fn load_package(&self, package: &PackageRecord) -> Option<(PathBuf, Companions)> {
        let zip = self.folder.join(&package.release);
        let (sha256, size) = Digest::of_file(&zip).ok()?;
        if size != package.size || sha256.to_string() != package.sha256 {
            return None;
        }
        let text = |name: &str| std::fs::read_to_string(self.folder.join(name)).ok();
        Some((zip, Companions { card: text(CARD)?, receipt: text(RECEIPT)? }))
    }

    /// Removes the folder, and the folders of abandoned runs. Returns the number of folders
    /// removed.
    pub(in crate::run) fn remove(&self, now: SystemTime) -> Result<usize, RunError> {
        remove_folder(&self.folder)?;
        let mut removed = 1;
        let Some(jobs) = self.folder.parent() else { return Ok(removed) };
        for path in entries(jobs)? {
            let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
            let age = changed.ok().and_then(|changed| now.duration_since(changed).ok());
            if age.is_some_and(|age| age > ABANDONED) {
                remove_folder(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_zip_outlives_attempts_and_a_damaged_one_is_not_loaded() {
        let data = tempfile::tempdir().unwrap();
        let job = JobId::manual(1);
        let first = RunDir::open(data.path(), &job, 1).unwrap();
        let zip = first.attempt_folder().join("half.zip");
        std::fs::write(&zip, b"zip").unwrap();
        let companions = Companions { card: "card".to_owned(), receipt: "{}".to_owned() };
        let package = first.store_package(&zip, "release.zip", &companions, None).unwrap();
        std::fs::write(first.attempt_folder().join("rest"), b"rest").unwrap();
        std::fs::create_dir(first.checkpoints()).unwrap();

        let second = RunDir::open(data.path(), &job, 2).unwrap();
        assert!(!first.attempt_folder().exists() && second.attempt_folder().exists());
        assert!(second.checkpoints().exists());
        let (path, loaded) = second.load_package(&package).unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), loaded), (b"zip".as_slice(), companions));
        std::fs::write(&path, b"zap").unwrap();
        assert!(second.load_package(&package).is_none());
        assert_eq!(second.remove(SystemTime::now()).unwrap(), 1);
        assert!(second.load_package(&package).is_none() && !second.checkpoints().exists());
    }

    #[test]
    fn folders_of_abandoned_runs_are_removed_and_others_stay() {
        let data = tempfile::tempdir().unwrap();
        let other = RunDir::open(data.path(), &JobId::manual(2), 1).unwrap();
        let now = SystemTime::now();
        let open = || RunDir::open(data.path(), &JobId::manual(1), 1).unwrap();
        assert_eq!(open().remove(now).unwrap(), 1);
        assert!(other.attempt_folder().exists());
        assert_eq!(open().remove(now + ABANDONED + Duration::from_secs(60)).unwrap(), 2);
        assert!(!other.attempt_folder().exists());
    }
}
