//! Where a run stands, on disk, so that it can go on after a crash with the same bits.
//!
//! One safetensors file, `checkpoint.safetensors`: parameters, both moments, every loss so far, of a run that may stop early
//! its scores and its best parameters; in its metadata the
//! step, what weight decay left of untrained rows, seconds spent, the run's fingerprint with its format number, and a
//! SHA-256 over all of it.
//! Batches follow from the recipe's seed and the step, so no random state is kept.
//!
//! A checkpoint is written beside, synced and renamed: whatever happens while writing, the one before stays whole.
//!
//! ```text
//! layout   the bytes of the file
//! error    why a checkpoint can't be written or used
//! ```

mod error;
mod layout;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use layout::ReadError;

pub use error::CheckpointError;
pub(super) use layout::{hex, in_bytes};

use super::{Assessed, Moments};

const FILE: &str = "checkpoint.safetensors";
/// What a file that is being written ends with.
const PARTIAL: &str = ".partial";

/// When checkpoints are written, besides when a run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// After so many steps.
    Steps(u64),
    /// After the first step that ends so much later than the last checkpoint.
    Time(Duration),
}

/// Where and when a run keeps checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoints {
    /// A folder of this run alone; made when it isn't there.
    pub folder: PathBuf,
    /// How often.
    pub interval: Interval,
}

/// The identity of a run: a checkpoint of another one is never continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The version of the list of fields that the digest covers.
    pub(super) format: u32,
    /// A SHA-256 in hexadecimal digits.
    pub(super) digest: String,
}

/// A run's state between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The parameters' numbers.
    pub values: Vec<f32>,
    /// The optimizer's state; `moments.step` steps are done.
    pub moments: Moments,
    /// The loss of each step done.
    pub losses: Vec<f32>,
    /// What is known of how good the parameters were.
    pub assessed: Assessed,
    /// Time the steps took.
    pub elapsed: Duration,
}

/// The same, borrowed from a run that goes on.
#[derive(Clone, Copy)]
pub(super) struct TrainingState<'a> {
    pub(super) values: &'a [f32],
    pub(super) moments: &'a Moments,
    pub(super) losses: &'a [f32],
    pub(super) assessed: &'a Assessed,
    pub(super) elapsed: Duration,
}

impl Checkpoint {
    /// Where a folder's checkpoint lies, if it has one. The file has this name only once it is whole, so it may be copied
    /// here from elsewhere, or from here, by whoever renames it, too.
    pub fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// The step of a folder's checkpoint, as its header says: cheap, and without the promise of [`Checkpoint::load`] that
    /// the rest is whole. `None` when there is none that can be read.
    pub fn step(folder: &Path) -> Option<u64> {
        layout::step(File::open(Self::file(folder)).ok()?)
    }

    /// The format of the fingerprint in a folder's checkpoint; 1 when the file names none. `None` when there is no checkpoint
    /// that can be read.
    pub(super) fn format(folder: &Path) -> Option<u32> {
        layout::format(File::open(Self::file(folder)).ok()?)
    }

    /// Reads a folder's checkpoint. `None` when there is none, or only one of another run.
    ///
    /// # Errors
    /// [`CheckpointError`] when the file can't be read or isn't what was written.
    pub fn load(folder: &Path, run: &Fingerprint) -> Result<Option<Self>, CheckpointError> {
        let path = Self::file(folder);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CheckpointError::File { action: "read", path, source }),
        };
        match layout::read(file, run) {
            Ok(found) => Ok(found),
            Err(ReadError::File(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(CheckpointError::Damaged { path, problem: "it is too short" })
            }
            Err(ReadError::File(source)) => Err(CheckpointError::File { action: "read", path, source }),
            Err(ReadError::Damaged(problem)) => Err(CheckpointError::Damaged { path, problem }),
        }
    }
}

impl TrainingState<'_> {
    /// Writes a checkpoint into `folder`, in the place of the one before.
    pub(super) fn save(self, folder: &Path, run: &Fingerprint) -> Result<(), CheckpointError> {
        replace(folder, |file| self.write(run, file))
    }
}

/// Writes a file beside the checkpoint and puts it in its place only when all of it is on the disk.
fn replace(folder: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), CheckpointError> {
    let attempt = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        // Of a name of its own: a worker that lost the run may still write its last one. On failure the file goes,
        // for on a full disk it takes the space others need.
        let mut beside = tempfile::Builder::new().suffix(PARTIAL).tempfile_in(folder)?;
        write(beside.as_file_mut())?;
        beside.as_file().sync_all()?;
        beside.persist(folder.join(FILE)).map_err(|error| error.error)?;
        // The new name itself is durable only once the folder is.
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|source| CheckpointError::File { action: "write", path: folder.join(FILE), source })
}

/// Removes what a killed process left half written. Best effort: it takes space, nothing else.
pub(super) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(PARTIAL) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A disk with room for so many bytes.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn run() -> Fingerprint {
        Fingerprint { format: 2, digest: "a run".to_owned() }
    }

    fn checkpoint(step: u64) -> Checkpoint {
        let numbers = |offset: f32| (0..50).map(|i| i as f32 * 0.37 + offset).collect::<Vec<_>>();
        let moments = Moments {
            first: numbers(1.0),
            second: numbers(2.0),
            step,
            decay_factor: 0.999_999_999_9_f64.powi(7),
        };
        let losses = (0..step).map(|i| 1.0 / (i + 1) as f32).collect();
        let assessed =
            Assessed { scores: vec![0.25; step as usize / 3], best: numbers(4.0), decay_factor: 0.99 };
        let elapsed = Duration::from_nanos(12_345);
        Checkpoint { values: numbers(step as f32), moments, losses, assessed, elapsed }
    }

    fn state(of: &Checkpoint) -> TrainingState<'_> {
        let Checkpoint { values, moments, losses, assessed, elapsed } = of;
        TrainingState { values, moments, losses, assessed, elapsed: *elapsed }
    }

    #[test]
    fn a_checkpoint_comes_back_whole_and_only_to_its_run() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::load(folder.path(), &run()).unwrap(), None);
        for step in [3, 9] {
            state(&checkpoint(step)).save(folder.path(), &run()).unwrap();
            assert_eq!(Checkpoint::load(folder.path(), &run()).unwrap(), Some(checkpoint(step)));
            assert_eq!(Checkpoint::step(folder.path()), Some(step));
        }
        let another = Fingerprint { format: 2, digest: "another".to_owned() };
        assert_eq!(Checkpoint::load(folder.path(), &another).unwrap(), None);
        let bytes = fs::read(folder.path().join(FILE)).unwrap();
        safetensors::SafeTensors::deserialize(&bytes).unwrap();
    }

    #[test]
    fn a_full_disk_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        state(&checkpoint(3)).save(folder.path(), &run()).unwrap();
        let whole = fs::metadata(folder.path().join(FILE)).unwrap().len() as usize;
        for room in [0, 1, 100, whole - 1] {
            let next = checkpoint(9);
            let error = replace(folder.path(), |_| state(&next).write(&run(), &mut Disk(room)));
            match error {
                Err(CheckpointError::File { source, .. }) => {
                    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                }
                other => panic!("room for {room} bytes: {other:?}"),
            }
            assert_eq!(Checkpoint::load(folder.path(), &run()).unwrap(), Some(checkpoint(3)));
        }
    }

    #[test]
    fn a_half_written_file_beside_is_no_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(format!("killed{PARTIAL}")), b"half").unwrap();
        assert_eq!(Checkpoint::load(folder.path(), &run()).unwrap(), None);
        state(&checkpoint(3)).save(folder.path(), &run()).unwrap();
        assert_eq!(Checkpoint::load(folder.path(), &run()).unwrap(), Some(checkpoint(3)));
        sweep(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(Checkpoint::load(folder.path(), &run()).unwrap(), Some(checkpoint(3)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_is_found(place in any::<prop::sample::Index>(), flip in 1_u8.., shorten: bool) {
            let folder = tempfile::tempdir().unwrap();
            state(&checkpoint(3)).save(folder.path(), &run()).unwrap();
            let path = folder.path().join(FILE);
            let mut bytes = fs::read(&path).unwrap();
            let place = place.index(bytes.len());
            if shorten { bytes.truncate(place) } else { bytes[place] ^= flip }
            fs::write(&path, &bytes).unwrap();
            // Never a panic; and never other numbers than were written.
            match Checkpoint::load(folder.path(), &run()) {
                Ok(None) | Err(CheckpointError::Damaged { .. }) => {}
                Ok(Some(read)) => prop_assert_eq!(read, checkpoint(3)),
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
