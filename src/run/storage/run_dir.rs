//! The folder a run writes into. It stays until the run has ended, so that whoever takes the run up again finds what
//! was done.
//!
//! ```text
//! <data dir>/jobs/<job>/attempt-<n>/   what an attempt is at; worthless afterwards
//! <data dir>/jobs/<job>/checkpoint/    where its training stands
//! <data dir>/jobs/<job>/<release>.zip  the finished zip
//! <data dir>/jobs/<job>/README.md      the model card that goes with it
//! <data dir>/jobs/<job>/receipt.json   its receipt
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::broker::{JobId, PackageRecord};
use crate::hub::Digest;

use crate::run::error::RunError;

/// A run_dir that nothing was written to for so long belongs to a run that nobody will retry.
const FORGOTTEN: Duration = Duration::from_secs(14 * 24 * 3600);
/// Name prefix of an attempt's folder.
const ATTEMPT: &str = "attempt-";
/// The training's checkpoints.
const CHECKPOINT: &str = "checkpoint";
/// The card beside the zip.
const CARD: &str = "README.md";
/// The receipt beside the zip.
const RECEIPT: &str = "receipt.json";

/// What is published with a zip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct Companions {
    pub(in crate::run) card: String,
    pub(in crate::run) receipt: String,
}

/// The folder a run writes into.
#[derive(Debug, Clone)]
pub(in crate::run) struct RunDir {
    folder: PathBuf,
    attempt: u64,
}

impl RunDir {
    /// Opens a run's folder for an attempt. What attempts before were at is removed; what they finished stays.
    pub(in crate::run) fn open(data_dir: &Path, job: &JobId, attempt: u64) -> Result<Self, RunError> {
        let run_dir = Self { folder: data_dir.join("jobs").join(job.as_str()), attempt };
        std::fs::create_dir_all(&run_dir.folder).map_err(RunError::file("make", &run_dir.folder))?;
        for path in entries(&run_dir.folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(ATTEMPT) {
                remove(&path)?;
            }
        }
        let attempt = run_dir.attempt_folder();
        std::fs::create_dir_all(&attempt).map_err(RunError::file("make", &attempt))?;
        Ok(run_dir)
    }

    /// Where this attempt puts what is not finished.
    pub(in crate::run) fn attempt_folder(&self) -> PathBuf {
        self.folder.join(format!("{ATTEMPT}{}", self.attempt))
    }

    /// Where training keeps its checkpoints, for the attempts to come.
    pub(in crate::run) fn checkpoints(&self) -> PathBuf {
        self.folder.join(CHECKPOINT)
    }

    /// Moves a finished zip and what goes with it out of the attempt's folder. The zip comes last: one that is there
    /// is complete.
    pub(in crate::run) fn keep(
        &self,
        zip: &Path,
        release: &str,
        companions: &Companions,
        instead_of: Option<String>,
    ) -> Result<PackageRecord, RunError> {
        for (name, text) in [(CARD, &companions.card), (RECEIPT, &companions.receipt)] {
            let (beside, kept) = (self.attempt_folder().join(name), self.folder.join(name));
            std::fs::write(&beside, text).map_err(RunError::file("write", &beside))?;
            sync(&beside)?;
            std::fs::rename(&beside, &kept).map_err(RunError::file("write", &kept))?;
        }
        let (sha256, size) = Digest::of_file(zip).map_err(RunError::file("read", zip))?;
        let kept = self.folder.join(release);
        std::fs::rename(zip, &kept).map_err(RunError::file("write", &kept))?;
        sync(&self.folder)?;
        Ok(PackageRecord { release: release.to_owned(), sha256: sha256.to_string(), size, instead_of })
    }

    /// A zip that was made before and what goes with it, if all is here and whole.
    pub(in crate::run) fn kept(&self, package: &PackageRecord) -> Option<(PathBuf, Companions)> {
        let zip = self.folder.join(&package.release);
        let (sha256, size) = Digest::of_file(&zip).ok()?;
        if size != package.size || sha256.to_string() != package.sha256 {
            return None;
        }
        let text = |name: &str| std::fs::read_to_string(self.folder.join(name)).ok();
        Some((zip, Companions { card: text(CARD)?, receipt: text(RECEIPT)? }))
    }

    /// Removes the folder, and those of runs long forgotten. Says how many went.
    pub(in crate::run) fn remove(&self, now: SystemTime) -> Result<usize, RunError> {
        remove(&self.folder)?;
        let mut removed = 1;
        let Some(jobs) = self.folder.parent() else { return Ok(removed) };
        for path in entries(jobs)? {
            let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
            let age = changed.ok().and_then(|changed| now.duration_since(changed).ok());
            if age.is_some_and(|age| age > FORGOTTEN) {
                remove(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Writes a file beside its place, and puts it there when it is on the disk.
pub(in crate::run) fn replace(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(RunError::file("make", folder))?;
    let beside = tempfile::NamedTempFile::new_in(folder).map_err(RunError::file("write", path))?;
    std::fs::write(beside.path(), bytes).map_err(RunError::file("write", path))?;
    beside.as_file().sync_all().map_err(RunError::file("write", path))?;
    beside.persist(path).map_err(|error| RunError::file("write", path)(error.error))?;
    sync(folder)
}

/// Puts a finished file into its place, in a folder that need not be there yet.
pub(in crate::run) fn put(file: &Path, place: &Path) -> Result<(), RunError> {
    let folder = place.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(RunError::file("make", folder))?;
    std::fs::rename(file, place).map_err(RunError::file("write", place))?;
    sync(folder)
}

/// Removes all files with this ending but those that were written last. One that can't be removed is no reason to stop.
pub(in crate::run) fn keep_newest(folder: &Path, suffix: &str, kept: usize) -> Result<(), RunError> {
    let mut known: Vec<_> = entries(folder)?
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .filter_map(|path| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    known.sort();
    for (_, oldest) in known.iter().rev().skip(kept) {
        if let Err(error) = std::fs::remove_file(oldest) {
            tracing::warn!(%error, path = %oldest.display(), "an old file can't be removed");
        }
    }
    Ok(())
}

/// The paths in a folder; none when it is not there.
pub(in crate::run) fn entries(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(RunError::file("read", folder)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(RunError::file("read", folder)(error)),
    }
}

fn sync(path: &Path) -> Result<(), RunError> {
    std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(RunError::file("write", path))
}

/// Removes a folder; another worker on the same disk may have been faster.
fn remove(folder: &Path) -> Result<(), RunError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(RunError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_finished_outlives_attempts_and_what_is_damaged_is_not_taken() {
        let data = tempfile::tempdir().unwrap();
        let job = JobId::manual(1);
        let first = RunDir::open(data.path(), &job, 1).unwrap();
        let zip = first.attempt_folder().join("half.zip");
        std::fs::write(&zip, b"zip").unwrap();
        let companions = Companions { card: "card".to_owned(), receipt: "{}".to_owned() };
        let package = first.keep(&zip, "release.zip", &companions, None).unwrap();
        std::fs::write(first.attempt_folder().join("rest"), b"rest").unwrap();
        std::fs::create_dir(first.checkpoints()).unwrap();

        let second = RunDir::open(data.path(), &job, 2).unwrap();
        assert!(!first.attempt_folder().exists() && second.attempt_folder().exists());
        assert!(second.checkpoints().exists());
        let (path, kept) = second.kept(&package).unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), kept), (b"zip".as_slice(), companions));
        std::fs::write(&path, b"zap").unwrap();
        assert!(second.kept(&package).is_none());
        assert_eq!(second.remove(SystemTime::now()).unwrap(), 1);
        assert!(second.kept(&package).is_none() && !second.checkpoints().exists());
    }

    #[test]
    fn workshops_of_forgotten_runs_go_and_others_stay() {
        let data = tempfile::tempdir().unwrap();
        let other = RunDir::open(data.path(), &JobId::manual(2), 1).unwrap();
        let now = SystemTime::now();
        let open = || RunDir::open(data.path(), &JobId::manual(1), 1).unwrap();
        assert_eq!(open().remove(now).unwrap(), 1);
        assert!(other.attempt_folder().exists());
        assert_eq!(open().remove(now + FORGOTTEN + Duration::from_secs(60)).unwrap(), 2);
        assert!(!other.attempt_folder().exists());
    }
}
