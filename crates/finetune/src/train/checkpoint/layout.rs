//! The byte layout of a checkpoint's file.
//!
//! The file is an ordinary safetensors file. The reader trusts none of it until its SHA-256
//! matches.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::time::Duration;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use sha2::{Digest, Sha256};

use super::{Checkpoint, Fingerprint, TrainingState};
use crate::train::{Assessed, Moments};

/// Length in bytes of the longest header accepted. A checkpoint's header has a few hundred bytes.
const MAX_HEADER: u64 = 1 << 16;
/// Number of floats converted at a time.
const CHUNK: usize = 1 << 14;
const FLOAT: usize = size_of::<f32>();

impl TrainingState<'_> {
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

    pub(super) fn write(&self, run: &Fingerprint, out: &mut dyn Write) -> io::Result<()> {
        let scalars = Scalars {
            step: self.moments.step,
            decay_factor: self.moments.decay_factor,
            best_decay_factor: self.assessed.decay_factor,
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
        metadata.insert("format".to_owned(), run.format.to_string());
        metadata.insert("run".to_owned(), run.digest.clone());
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

/// Reason that a file can't be read as a checkpoint.
pub(super) enum ReadError {
    File(io::Error),
    Damaged(&'static str),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// Reads a header and leaves the file at the first tensor.
fn header(input: &mut impl Read, length: u64) -> Result<Metadata, ReadError> {
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
        return Err(ReadError::Damaged("its length differs from the one in its header"));
    }
    Ok(metadata)
}

/// Returns the step in a file's header.
pub(super) fn step(mut file: File) -> Option<u64> {
    let length = file.metadata().ok()?.len();
    let metadata = header(&mut file, length).ok()?;
    Some(Scalars::parse(metadata.metadata().as_ref()?)?.step)
}

/// Returns the format of the fingerprint in a file's header. Format 1 had no number.
pub(super) fn format(mut file: File) -> Option<u32> {
    let length = file.metadata().ok()?.len();
    let metadata = header(&mut file, length).ok()?;
    metadata.metadata().as_ref()?.get("format").map_or(Some(1), |format| format.parse().ok())
}

pub(super) fn read(file: File, run: &Fingerprint) -> Result<Option<Checkpoint>, ReadError> {
    let length = file.metadata()?.len();
    let mut input = BufReader::new(file);
    let metadata = header(&mut input, length)?;
    let none = HashMap::new();
    let texts = metadata.metadata().as_ref().unwrap_or(&none);
    if texts.get("run") != Some(&run.digest) {
        return Ok(None);
    }
    let scalars = Scalars::parse(texts).ok_or(ReadError::Damaged("its metadata is incomplete"))?;
    let mut digest = scalars.digest(run);
    let mut tensor = |name: &str| -> Result<Vec<f32>, ReadError> {
        let elements = metadata.info(name).map(|info| info.data_offsets.1 - info.data_offsets.0);
        let bytes = elements.ok_or(ReadError::Damaged("a tensor is missing"))?;
        // Tensors are read in the order of writing, which the digest below verifies.
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
    let moments = Moments { first, second, step: scalars.step, decay_factor: scalars.decay_factor };
    let assessed = Assessed { scores, best, decay_factor: scalars.best_decay_factor };
    let elapsed = Duration::from_nanos(scalars.nanoseconds);
    Ok(Some(Checkpoint { values, moments, losses, assessed, elapsed }))
}

/// Numbers in the metadata.
struct Scalars {
    step: u64,
    decay_factor: f64,
    best_decay_factor: f64,
    nanoseconds: u64,
}

impl Scalars {
    fn texts(&self) -> HashMap<String, String> {
        // Floats are stored as their bits, which are exact. Nobody reads this file's numbers in
        // decimal.
        let numbers = [
            ("step", self.step),
            ("kept_bits", self.decay_factor.to_bits()),
            ("best_kept_bits", self.best_decay_factor.to_bits()),
            ("nanoseconds", self.nanoseconds),
        ];
        numbers.map(|(name, number)| (name.to_owned(), number.to_string())).into()
    }

    fn parse(texts: &HashMap<String, String>) -> Option<Self> {
        let number = |name: &str| texts.get(name)?.parse::<u64>().ok();
        Some(Self {
            step: number("step")?,
            decay_factor: f64::from_bits(number("kept_bits")?),
            best_decay_factor: f64::from_bits(number("best_kept_bits")?),
            nanoseconds: number("nanoseconds")?,
        })
    }

    /// Returns a digest that covers everything but the tensors.
    fn digest(&self, run: &Fingerprint) -> Sha256 {
        let mut digest = Sha256::new();
        digest.update(&run.digest);
        for number in
            [self.step, self.decay_factor.to_bits(), self.best_decay_factor.to_bits(), self.nanoseconds]
        {
            digest.update(number.to_le_bytes());
        }
        digest
    }
}

/// Passes `numbers` to `take` as little-endian bytes, one chunk at a time.
pub(in crate::train) fn in_bytes(
    numbers: &[f32],
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK * FLOAT);
    for chunk in numbers.chunks(CHUNK) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|number| number.to_le_bytes()));
        take(&bytes)?;
    }
    Ok(())
}

pub(in crate::train) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
