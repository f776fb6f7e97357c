//! Where a run stands, on disk, so that it can go on after a crash with the same bits.
//!
//! One safetensors file, `checkpoint.safetensors`: parameters, both moments, every loss so far, of a run that may stop early
//! its scores and its best parameters; in its metadata the
//! step, what weight decay left of untrained rows, seconds spent, the run's fingerprint, and a SHA-256 over all of it.
//! Batches follow from the recipe's seed and the step, so no random state is kept.
//!
//! A checkpoint is written beside, synced and renamed: whatever happens while writing, the one before stays whole.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Remedy};

use super::{Assessed, Moments};

const FILE: &str = "checkpoint.safetensors";
/// What a file that is being written ends with.
const PARTIAL: &str = ".partial";
/// A header is a few hundred bytes; one longer than this is not ours.
const MAX_HEADER: u64 = 1 << 16;
/// Floats converted at a time.
const CHUNK: usize = 1 << 14;
const FLOAT: usize = size_of::<f32>();

/// Why a checkpoint can't be written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused; a full disk is the likeliest reason. An earlier checkpoint is as it was.
    #[error("can't {action} checkpoint {}", path.display())]
    File {
        /// `write` or `read`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("checkpoint {} is damaged: {problem}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Failure for CheckpointError {
    fn remedy(&self) -> Remedy {
        match self {
            Self::File { .. } => Remedy::Person,
            Self::Damaged { .. } => Remedy::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::File { path, .. } => {
                format!("Check free space and rights at {}, then start the run again.", path.display())
            }
            Self::Damaged { path, .. } => {
                format!(
                    "Check the disk, delete {}, and start the run again from its beginning.",
                    path.display()
                )
            }
        }
    }
}

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

/// What makes two runs the same: a checkpoint of another one is never continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(pub(super) String);

/// A run's state between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The parameters' numbers.
    pub values: Vec<f32>,
    /// The optimiser's state; `moments.step` steps are done.
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
pub(super) struct Standing<'a> {
    pub(super) values: &'a [f32],
    pub(super) moments: &'a Moments,
    pub(super) losses: &'a [f32],
    pub(super) assessed: &'a Assessed,
    pub(super) elapsed: Duration,
}

impl Checkpoint {
    /// Reads a folder's checkpoint. `None` when there is none, or only one of another run.
    ///
    /// # Errors
    /// [`CheckpointError`] when the file can't be read or isn't what was written.
    pub fn load(folder: &Path, run: &Fingerprint) -> Result<Option<Self>, CheckpointError> {
        let path = folder.join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CheckpointError::File { action: "read", path, source }),
        };
        match read(file, run) {
            Ok(found) => Ok(found),
            Err(ReadError::File(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(CheckpointError::Damaged { path, problem: "it is too short" })
            }
            Err(ReadError::File(source)) => Err(CheckpointError::File { action: "read", path, source }),
            Err(ReadError::Damaged(problem)) => Err(CheckpointError::Damaged { path, problem }),
        }
    }
}

impl Standing<'_> {
    /// Writes a checkpoint into `folder`, in the place of the one before.
    pub(super) fn save(self, folder: &Path, run: &Fingerprint) -> Result<(), CheckpointError> {
        replace(folder, |file| self.write(run, file))
    }

    fn tensors(&self) -> [(&'static str, &[f32]); 6] {
        [
            ("parameters", self.values),
            ("first_moments", &self.moments.first),
            ("second_moments", &self.moments.second),
            ("losses", self.losses),
            ("scores", &self.assessed.scores),
            ("best_parameters", &self.assessed.best),
        ]
    }

    fn write(&self, run: &Fingerprint, out: &mut dyn Write) -> io::Result<()> {
        let scalars = Scalars {
            step: self.moments.step,
            kept: self.moments.kept,
            best_kept: self.assessed.kept,
            nanoseconds: u64::try_from(self.elapsed.as_nanos()).unwrap_or(u64::MAX),
        };
        let mut digest = scalars.digest(run);
        for (_, numbers) in self.tensors() {
            in_bytes(numbers, |bytes| {
                digest.update(bytes);
                Ok(())
            })?;
        }
        let mut metadata = scalars.texts();
        metadata.insert("run".to_owned(), run.0.clone());
        metadata.insert("sha256".to_owned(), hex(&digest.finalize()));
        let mut offset = 0;
        let tensors = self.tensors().map(|(name, numbers)| {
            let start = offset;
            offset += numbers.len() * FLOAT;
            let info =
                TensorInfo { dtype: Dtype::F32, shape: vec![numbers.len()], data_offsets: (start, offset) };
            (name.to_owned(), info)
        });
        let header = Metadata::new(Some(metadata), tensors.to_vec()).map_err(io::Error::other)?;
        let mut header = serde_json::to_vec(&header)?;
        header.resize(header.len().next_multiple_of(8), b' ');

        let mut out = BufWriter::new(out);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for (_, numbers) in self.tensors() {
            in_bytes(numbers, |bytes| out.write_all(bytes))?;
        }
        out.flush()
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

enum ReadError {
    File(io::Error),
    Damaged(&'static str),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

fn read(file: File, run: &Fingerprint) -> Result<Option<Checkpoint>, ReadError> {
    let length = file.metadata()?.len();
    let mut input = BufReader::new(file);
    let mut prefix = [0; 8];
    input.read_exact(&mut prefix)?;
    let header = u64::from_le_bytes(prefix);
    if header > MAX_HEADER {
        return Err(ReadError::Damaged("its header is too long"));
    }
    let mut bytes = vec![0; header as usize];
    input.read_exact(&mut bytes)?;
    let metadata: Metadata =
        serde_json::from_slice(&bytes).map_err(|_| ReadError::Damaged("its header is malformed"))?;
    if 8 + header + metadata.data_len() as u64 != length {
        return Err(ReadError::Damaged("it has another length than its header says"));
    }
    let none = HashMap::new();
    let texts = metadata.metadata().as_ref().unwrap_or(&none);
    if texts.get("run") != Some(&run.0) {
        return Ok(None);
    }
    let scalars = Scalars::parse(texts).ok_or(ReadError::Damaged("its metadata is incomplete"))?;
    let mut digest = scalars.digest(run);
    let mut tensor = |name: &str| -> Result<Vec<f32>, ReadError> {
        let elements = metadata.info(name).map(|info| info.data_offsets.1 - info.data_offsets.0);
        let bytes = elements.ok_or(ReadError::Damaged("a tensor is missing"))?;
        // Read in the order of writing, which the digest below holds the file to.
        let mut numbers = Vec::with_capacity(bytes / FLOAT);
        let mut buffer = vec![0; CHUNK * FLOAT];
        let mut left = bytes;
        while left > 0 {
            let take = left.min(buffer.len());
            input.read_exact(&mut buffer[..take])?;
            digest.update(&buffer[..take]);
            let (floats, _) = buffer[..take].as_chunks::<FLOAT>();
            numbers.extend(floats.iter().map(|four| f32::from_le_bytes(*four)));
            left -= take;
        }
        Ok(numbers)
    };
    let (values, first, second, losses) =
        (tensor("parameters")?, tensor("first_moments")?, tensor("second_moments")?, tensor("losses")?);
    let (scores, best) = (tensor("scores")?, tensor("best_parameters")?);
    if texts.get("sha256") != Some(&hex(&digest.finalize())) {
        return Err(ReadError::Damaged("its contents don't match its SHA-256"));
    }
    let fits = first.len() == values.len() && second.len() == values.len();
    let best_fits = best.len() == if scores.is_empty() { 0 } else { values.len() };
    if !fits || !best_fits || losses.len() as u64 != scalars.step {
        return Err(ReadError::Damaged("its tensors don't fit each other"));
    }
    let moments = Moments { first, second, step: scalars.step, kept: scalars.kept };
    let assessed = Assessed { scores, best, kept: scalars.best_kept };
    let elapsed = Duration::from_nanos(scalars.nanoseconds);
    Ok(Some(Checkpoint { values, moments, losses, assessed, elapsed }))
}

/// The numbers that stand in the metadata.
struct Scalars {
    step: u64,
    kept: f64,
    best_kept: f64,
    nanoseconds: u64,
}

impl Scalars {
    fn texts(&self) -> HashMap<String, String> {
        // A float's bits: its decimal digits are for readers of other files.
        let numbers = [
            ("step", self.step),
            ("kept_bits", self.kept.to_bits()),
            ("best_kept_bits", self.best_kept.to_bits()),
            ("nanoseconds", self.nanoseconds),
        ];
        numbers.map(|(name, number)| (name.to_owned(), number.to_string())).into()
    }

    fn parse(texts: &HashMap<String, String>) -> Option<Self> {
        let number = |name: &str| texts.get(name)?.parse::<u64>().ok();
        Some(Self {
            step: number("step")?,
            kept: f64::from_bits(number("kept_bits")?),
            best_kept: f64::from_bits(number("best_kept_bits")?),
            nanoseconds: number("nanoseconds")?,
        })
    }

    /// A digest that has taken in everything but the tensors.
    fn digest(&self, run: &Fingerprint) -> Sha256 {
        let mut digest = Sha256::new();
        digest.update(&run.0);
        for number in [self.step, self.kept.to_bits(), self.best_kept.to_bits(), self.nanoseconds] {
            digest.update(number.to_le_bytes());
        }
        digest
    }
}

/// Hands `numbers` over as little-endian bytes, some at a time.
pub(super) fn in_bytes(numbers: &[f32], mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK * FLOAT);
    for chunk in numbers.chunks(CHUNK) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|number| number.to_le_bytes()));
        take(&bytes)?;
    }
    Ok(())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
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
        Fingerprint("a run".to_owned())
    }

    fn checkpoint(step: u64) -> Checkpoint {
        let numbers = |offset: f32| (0..50).map(|i| i as f32 * 0.37 + offset).collect::<Vec<_>>();
        let moments =
            Moments { first: numbers(1.0), second: numbers(2.0), step, kept: 0.999_999_999_9_f64.powi(7) };
        let losses = (0..step).map(|i| 1.0 / (i + 1) as f32).collect();
        let assessed = Assessed { scores: vec![0.25; step as usize / 3], best: numbers(4.0), kept: 0.99 };
        let elapsed = Duration::from_nanos(12_345);
        Checkpoint { values: numbers(step as f32), moments, losses, assessed, elapsed }
    }

    fn standing(of: &Checkpoint) -> Standing<'_> {
        let Checkpoint { values, moments, losses, assessed, elapsed } = of;
        Standing { values, moments, losses, assessed, elapsed: *elapsed }
    }

    #[test]
    fn a_checkpoint_comes_back_whole_and_only_to_its_run() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::load(folder.path(), &run()).unwrap(), None);
        for step in [3, 9] {
            standing(&checkpoint(step)).save(folder.path(), &run()).unwrap();
            assert_eq!(Checkpoint::load(folder.path(), &run()).unwrap(), Some(checkpoint(step)));
        }
        assert_eq!(Checkpoint::load(folder.path(), &Fingerprint("another".to_owned())).unwrap(), None);
        let bytes = fs::read(folder.path().join(FILE)).unwrap();
        safetensors::SafeTensors::deserialize(&bytes).unwrap();
    }

    #[test]
    fn a_full_disk_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        standing(&checkpoint(3)).save(folder.path(), &run()).unwrap();
        let whole = fs::metadata(folder.path().join(FILE)).unwrap().len() as usize;
        for room in [0, 1, 100, whole - 1] {
            let next = checkpoint(9);
            let error = replace(folder.path(), |_| standing(&next).write(&run(), &mut Disk(room)));
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
        standing(&checkpoint(3)).save(folder.path(), &run()).unwrap();
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
            standing(&checkpoint(3)).save(folder.path(), &run()).unwrap();
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
