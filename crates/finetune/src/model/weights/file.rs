//! One weight file: its header, ranges of its tensors, and copies with altered tensors.
//!
//! The file is in safetensors or is one that PyTorch has pickled. Copies are always in safetensors.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo};

use super::super::ModelError;
use super::super::files::open;
use super::element::Element;
use super::names_in_files;
use super::torch::TorchFile;
use crate::durable::replace;

/// Length in bytes of the longest header that the safetensors format allows.
const MAX_HEADER: u64 = 100_000_000;

/// Callback that changes consecutive elements of a tensor in place. The first argument is the index
/// of the first of these elements.
pub type Alteration<'a> = Box<dyn FnMut(usize, &mut [f32]) + 'a>;

/// An open weight file.
#[derive(Debug)]
pub(super) struct WeightFile {
    path: PathBuf,
    /// Length prefix and header of a safetensors file: of this one, or of a copy of this one.
    prologue: Vec<u8>,
    metadata: Metadata,
    /// Place of each tensor in a pickled file, by its offset in `metadata`; `None` for a safetensors
    /// file, in which the tensors follow the prologue.
    starts: Option<HashMap<usize, u64>>,
}

impl WeightFile {
    /// Opens a file, and reads and checks its header.
    ///
    /// # Errors
    /// [`ModelError::Weights`] when the header is malformed, or when the file is shorter or longer
    /// than its header says.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::File { action: "read", path: path.to_owned(), source };
        let damaged = |problem: String| ModelError::Weights { path: path.to_owned(), problem };
        let mut file = open(path)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut prefix = [0; 8];
        file.read_exact(&mut prefix).map_err(|_| damaged("it is shorter than a header".to_owned()))?;
        let header = u64::from_le_bytes(prefix);
        if header > MAX_HEADER || header + 8 > length {
            return Err(damaged(format!("it claims a header of {header} bytes, but has {length} in all")));
        }
        let mut prologue = prefix.to_vec();
        file.take(header).read_to_end(&mut prologue).map_err(failed)?;
        let metadata: Metadata = serde_json::from_slice(&prologue[8..])
            .map_err(|source| damaged(format!("its header is malformed ({source})")))?;
        let expected = 8 + header + metadata.data_len() as u64;
        if expected != length {
            return Err(damaged(format!("its header describes {expected} bytes, but it has {length}")));
        }
        Ok(Self { path: path.to_owned(), prologue, metadata, starts: None })
    }

    /// Opens a file that PyTorch has pickled, and reads and checks its description.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] when the file holds more than tensors, [`ModelError::Weights`] when
    /// it is damaged.
    pub(super) fn open_pickled(path: &Path) -> Result<Self, ModelError> {
        let TorchFile { metadata, starts } = TorchFile::open(path)?;
        let mut header = serde_json::to_vec(&metadata)
            .map_err(|error| ModelError::Weights { path: path.to_owned(), problem: error.to_string() })?;
        // Numbers then begin at a multiple of eight bytes, as the format recommends.
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut prologue = (header.len() as u64).to_le_bytes().to_vec();
        prologue.append(&mut header);
        Ok(Self { path: path.to_owned(), prologue, metadata, starts: Some(starts) })
    }

    /// Returns the place of a tensor's first byte in the file.
    fn start(&self, tensor: &TensorInfo) -> u64 {
        let begin = tensor.data_offsets.0;
        match &self.starts {
            Some(starts) => starts.get(&begin).copied().unwrap_or_default(),
            None => (self.prologue.len() + begin) as u64,
        }
    }

    /// Returns the names of the tensors.
    pub(super) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// Returns the description of the tensor called `name`.
    pub(super) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(name)
    }

    /// Appends ranges of a tensor of this file to `into`. Each item of `runs` holds the index of
    /// the first element and the number of elements.
    pub(super) fn read(
        &self,
        tensor: &TensorInfo,
        element: Element,
        runs: impl IntoIterator<Item = (usize, usize)>,
        into: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let failed = |source| self.failed("read", source);
        let start = self.start(tensor);
        let mut file = open(&self.path)?;
        let mut bytes = Vec::new();
        for (first, count) in runs {
            let offset = start + (first * element.size()) as u64;
            file.seek(SeekFrom::Start(offset)).map_err(failed)?;
            bytes.resize(count * element.size(), 0);
            file.read_exact(&mut bytes).map_err(failed)?;
            element.decode(&bytes, into);
        }
        Ok(())
    }

    /// Writes a copy of this file in safetensors to `path`, with the named tensors altered.
    ///
    /// Everything else stays as it is, header and order included. Alterations are found by name,
    /// with or without `prefix`. The file at `path` is replaced atomically.
    ///
    /// # Errors
    /// [`ModelError::File`] when this file can't be read or the copy can't be written.
    pub(super) fn rewrite(
        &self,
        path: &Path,
        prefix: &str,
        alterations: &mut HashMap<String, Alteration<'_>>,
    ) -> Result<(), ModelError> {
        let mut input = open(&self.path)?;
        replace(path, |file| self.copy(&mut input, BufWriter::new(file), prefix, alterations))
            .map_err(|source| ModelError::File { action: "write", path: path.to_owned(), source })
    }

    fn copy(
        &self,
        input: &mut File,
        mut out: impl Write,
        prefix: &str,
        alterations: &mut HashMap<String, Alteration<'_>>,
    ) -> std::io::Result<()> {
        out.write_all(&self.prologue)?;
        // Alterations by the name that the file gives their tensor.
        let names: HashMap<String, String> = alterations
            .keys()
            .flat_map(|known| names_in_files(known, prefix).into_iter().map(|name| (name, known.clone())))
            .collect();
        // The tensors follow each other in the order of their offsets, without gaps: parsing the
        // header has checked this.
        for name in self.metadata.offset_keys() {
            let Some(info) = self.metadata.info(&name) else { continue };
            let bytes = info.data_offsets.1 - info.data_offsets.0;
            input.seek(SeekFrom::Start(self.start(info)))?;
            let alteration = names.get(&name).and_then(|known| alterations.get_mut(known));
            match (alteration, Element::from_dtype(info.dtype)) {
                (Some(alter), Some(element)) => rewrite_tensor(input, &mut out, bytes, element, alter)?,
                // A tensor of an unsupported format was never read, so there are no new numbers for
                // it.
                _ => copy_exactly(input, &mut out, bytes as u64)?,
            }
        }
        out.flush()
    }

    /// Returns the file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> ModelError {
        ModelError::File { action, path: self.path.clone(), source }
    }
}

/// Copies exactly this number of bytes. A file that has become shorter is an error, not a short
/// copy.
fn copy_exactly(input: &mut File, out: &mut impl Write, bytes: u64) -> std::io::Result<()> {
    let copied = std::io::copy(&mut input.take(bytes), out)?;
    if copied == bytes { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

fn rewrite_tensor(
    input: &mut File,
    out: &mut impl Write,
    bytes: usize,
    element: Element,
    alter: &mut Alteration<'_>,
) -> std::io::Result<()> {
    const CHUNK: usize = 1 << 18;
    let mut buffer = vec![0; CHUNK];
    let mut numbers = Vec::with_capacity(CHUNK / element.size());
    let mut done = 0;
    while done < bytes {
        let take = (bytes - done).min(CHUNK);
        input.read_exact(&mut buffer[..take])?;
        numbers.clear();
        element.decode(&buffer[..take], &mut numbers);
        alter(done / element.size(), &mut numbers);
        element.encode(&numbers, &mut buffer[..take]);
        out.write_all(&buffer[..take])?;
        done += take;
    }
    Ok(())
}
