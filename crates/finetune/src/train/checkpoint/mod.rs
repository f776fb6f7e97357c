//! Checkpoints: a run's training state on disk, from which it resumes after a crash with the same
//! bits.
//!
//! A checkpoint is one safetensors file, `checkpoint.safetensors`. Its tensors are the parameters,
//! both moments, every loss so far and, for a run that may stop early, the scores and the best
//! parameters. Its metadata holds the step, the decay factors of untrained rows, the time spent,
//! the run's fingerprint with its format number, and a SHA-256 over all of it. Batches follow from
//! the recipe's seed and the step, so no random state is stored.
//!
//! A checkpoint is replaced atomically: whatever happens during a write, the earlier one stays
//! intact.
//!
//! ```text
//! layout   byte layout of the file
//! error    the error of writing and reading a checkpoint
//! ```

mod error;
mod layout;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use layout::ReadError;

pub use error::CheckpointError;
pub(super) use layout::{hex, in_bytes};

use super::{Assessed, Moments};
use crate::durable::replace;

const FILE: &str = "checkpoint.safetensors";

/// Interval between checkpoints. A run that is stopped writes one in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// A checkpoint each time the number of steps is a multiple of this.
    Steps(u64),
    /// A checkpoint after the first step that ends at least this long after the last checkpoint.
    Time(Duration),
}

/// Place and interval of a run's checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoints {
    /// Folder of this run alone; created when it is missing.
    pub folder: PathBuf,
    /// Interval between checkpoints.
    pub interval: Interval,
}

/// The identity of a run. A run never resumes from the checkpoint of another run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Version of the list of fields that the digest covers.
    pub(super) format: u32,
    /// SHA-256 in hexadecimal digits.
    pub(super) digest: String,
}

/// A run's training state between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Values of the parameters.
    pub values: Vec<f32>,
    /// State of the optimizer after `moments.step` steps.
    pub moments: Moments,
    /// Loss of each step done.
    pub losses: Vec<f32>,
    /// State of the assessments.
    pub assessed: Assessed,
    /// Time that the steps took.
    pub elapsed: Duration,
}

/// The training state of a run in progress, borrowed to be written.
#[derive(Clone, Copy)]
pub(super) struct TrainingState<'a> {
    pub(super) values: &'a [f32],
    pub(super) moments: &'a Moments,
    pub(super) losses: &'a [f32],
    pub(super) assessed: &'a Assessed,
    pub(super) elapsed: Duration,
}

impl Checkpoint {
    /// Returns the path at which a folder keeps its checkpoint.
    ///
    /// The file has this name only once it is complete. So other code may copy the file from here
    /// at any time, or put one here, as long as it also renames a complete file.
    pub fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Returns the step of a folder's checkpoint, read from its header alone. This is cheap, but
    /// unlike [`Checkpoint::load`] it does not verify the rest. Returns `None` when no checkpoint
    /// can be read.
    pub fn step(folder: &Path) -> Option<u64> {
        layout::step(File::open(Self::file(folder)).ok()?)
    }

    /// Returns the format of the fingerprint in a folder's checkpoint, or 1 when the file names
    /// none. Returns `None` when no checkpoint can be read.
    pub(super) fn format(folder: &Path) -> Option<u32> {
        layout::format(File::open(Self::file(folder)).ok()?)
    }

    /// Reads a folder's checkpoint. Returns `None` when there is none, or only one of another run.
    ///
    /// # Errors
    /// [`CheckpointError`] when the file can't be read or differs from what was written.
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
    /// Writes a checkpoint into `folder` and replaces the earlier one.
    pub(super) fn save(self, folder: &Path, run: &Fingerprint) -> Result<(), CheckpointError> {
        write_checkpoint(folder, |file| self.write(run, file))
    }
}

fn write_checkpoint(
    folder: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), CheckpointError> {
    let path = Checkpoint::file(folder);
    replace(&path, write).map_err(|source| CheckpointError::File { action: "write", path, source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::durable::remove_partial;

    /// A disk with room for this many bytes.
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
            let error = write_checkpoint(folder.path(), |_| state(&next).write(&run(), &mut Disk(room)));
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
        fs::write(folder.path().join(".partial-killed"), b"half").unwrap();
        assert_eq!(Checkpoint::load(folder.path(), &run()).unwrap(), None);
        state(&checkpoint(3)).save(folder.path(), &run()).unwrap();
        assert_eq!(Checkpoint::load(folder.path(), &run()).unwrap(), Some(checkpoint(3)));
        remove_partial(folder.path());
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
            // Never a panic, and never numbers other than those written.
            match Checkpoint::load(folder.path(), &run()) {
                Ok(None) | Err(CheckpointError::Damaged { .. }) => {}
                Ok(Some(read)) => prop_assert_eq!(read, checkpoint(3)),
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
