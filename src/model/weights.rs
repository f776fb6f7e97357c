//! Tensors of a safetensors file, read by range and rewritten by streaming.
//!
//! The file is never held in memory whole: a job reads the encoder and only those rows of the token table that
//! its texts use, and writing copies the rest from file to file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::ModelError;

/// Longest header the safetensors format allows.
const MAX_HEADER: u64 = 100_000_000;
/// Bytes of a 32-bit float.
const FLOAT: usize = size_of::<f32>();

/// An open safetensors file.
#[derive(Debug)]
pub struct WeightFile {
    path: PathBuf,
    /// Length prefix and header, as they stand in the file.
    prologue: Vec<u8>,
    metadata: Metadata,
}

impl WeightFile {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`ModelError::Weights`] when the header is malformed or the file is shorter or longer than it says.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::File { action: "read", path: path.to_owned(), source };
        let damaged = |problem: String| ModelError::Weights { path: path.to_owned(), problem };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut prefix = [0; 8];
        file.read_exact(&mut prefix).map_err(|_| damaged("it is shorter than a header".to_owned()))?;
        let header = u64::from_le_bytes(prefix);
        if header > MAX_HEADER || header + 8 > length {
            return Err(damaged(format!("it claims a header of {header} bytes and has {length}")));
        }
        let mut prologue = prefix.to_vec();
        file.take(header).read_to_end(&mut prologue).map_err(failed)?;
        let metadata: Metadata = serde_json::from_slice(&prologue[8..])
            .map_err(|source| damaged(format!("its header is malformed ({source})")))?;
        let expected = 8 + header + metadata.data_len() as u64;
        if expected != length {
            return Err(damaged(format!("its header describes {expected} bytes and it has {length}")));
        }
        Ok(Self { path: path.to_owned(), prologue, metadata })
    }

    /// The name under which the file knows a tensor: files saved from a model with a task head put `bert.` before.
    fn resolve(&self, name: &str) -> Result<(String, &TensorInfo), ModelError> {
        [name.to_owned(), format!("bert.{name}")]
            .into_iter()
            .find_map(|full| self.metadata.info(&full).map(|info| (full, info)))
            .ok_or_else(|| tensor_error(name, "is missing"))
    }

    fn checked(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo, ModelError> {
        let (_, info) = self.resolve(name)?;
        if info.shape != shape {
            return Err(tensor_error(
                name,
                &format!("has shape {:?} and config.json asks for {shape:?}", info.shape),
            ));
        }
        if info.dtype != Dtype::F32 {
            return Err(tensor_error(name, &format!("is {:?}; only F32 weights can be trained", info.dtype)));
        }
        Ok(info)
    }

    fn start(&self, info: &TensorInfo) -> u64 {
        (self.prologue.len() + info.data_offsets.0) as u64
    }

    /// Reads a whole tensor, appending its elements to `into`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when it is missing or not of this shape.
    pub fn read(&self, name: &str, shape: &[usize], into: &mut Vec<f32>) -> Result<(), ModelError> {
        let info = self.checked(name, shape)?;
        let mut file = self.seek(self.start(info))?;
        self.read_floats(&mut file, shape.iter().product(), into)
    }

    /// Reads some rows of a matrix, in the order asked for, appending their elements to `into`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when it is missing, not of this shape, or has no such row.
    pub fn read_rows(
        &self,
        name: &str,
        shape: [usize; 2],
        rows: &[u32],
        into: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let info = self.checked(name, &shape)?;
        let start = self.start(info);
        let mut file = self.seek(start)?;
        for row in rows {
            let row = *row as usize;
            if row >= shape[0] {
                return Err(tensor_error(name, &format!("has {} rows and row {row} is needed", shape[0])));
            }
            let offset = start + (row * shape[1] * FLOAT) as u64;
            file.seek(SeekFrom::Start(offset)).map_err(|source| self.file_error("read", source))?;
            self.read_floats(&mut file, shape[1], into)?;
        }
        Ok(())
    }

    /// Writes a copy of this file to `path` in which the named tensors are altered; everything else, header
    /// and order included, stays as it is. `alter` gets a tensor's elements, `chunk` elements of it at a time, with
    /// the index of the first, and changes them in place.
    ///
    /// The file is written beside, synced and renamed.
    ///
    /// # Errors
    /// [`ModelError::File`] when either file fails.
    pub fn rewrite(
        &self,
        path: &Path,
        alterations: &mut HashMap<String, Alteration<'_>>,
    ) -> Result<(), ModelError> {
        let failed = |source| ModelError::File { action: "write", path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut beside = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        let mut out = BufWriter::new(beside.as_file_mut());
        out.write_all(&self.prologue).map_err(failed)?;
        let mut input = self.seek(self.prologue.len() as u64)?;
        // Tensors stand in the file in the order of their offsets, without gaps: the header was checked for it.
        for name in self.metadata.offset_keys() {
            let Some(info) = self.metadata.info(&name) else { continue };
            let known = name.strip_prefix("bert.").unwrap_or(&name);
            let bytes = info.data_offsets.1 - info.data_offsets.0;
            let alteration = alterations.get_mut(&name).or_else(|| None);
            let alteration = match alteration {
                Some(alteration) => Some(alteration),
                None => alterations.get_mut(known),
            };
            match alteration {
                None => {
                    std::io::copy(&mut (&mut input).take(bytes as u64), &mut out).map_err(failed)?;
                }
                Some(alter) => self.rewrite_tensor(&mut input, &mut out, bytes, alter).map_err(failed)?,
            }
        }
        out.flush().map_err(failed)?;
        drop(out);
        beside.as_file().sync_all().map_err(failed)?;
        beside.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn rewrite_tensor(
        &self,
        input: &mut File,
        out: &mut impl Write,
        bytes: usize,
        alter: &mut Alteration<'_>,
    ) -> std::io::Result<()> {
        const CHUNK: usize = 1 << 16;
        let mut buffer = vec![0; CHUNK * FLOAT];
        let mut done = 0;
        let mut floats = Vec::with_capacity(CHUNK);
        while done < bytes {
            let take = (bytes - done).min(buffer.len());
            input.read_exact(&mut buffer[..take])?;
            floats.clear();
            floats.extend(decode(&buffer[..take]));
            alter(done / FLOAT, &mut floats);
            for (slot, float) in buffer[..take].chunks_exact_mut(FLOAT).zip(&floats) {
                slot.copy_from_slice(&float.to_le_bytes());
            }
            out.write_all(&buffer[..take])?;
            done += take;
        }
        Ok(())
    }

    fn seek(&self, offset: u64) -> Result<File, ModelError> {
        let mut file = File::open(&self.path).map_err(|source| self.file_error("read", source))?;
        file.seek(SeekFrom::Start(offset)).map_err(|source| self.file_error("read", source))?;
        Ok(file)
    }

    fn read_floats(&self, file: &mut File, count: usize, into: &mut Vec<f32>) -> Result<(), ModelError> {
        let mut bytes = vec![0; count * FLOAT];
        file.read_exact(&mut bytes).map_err(|source| self.file_error("read", source))?;
        into.extend(decode(&bytes));
        Ok(())
    }

    fn file_error(&self, action: &'static str, source: std::io::Error) -> ModelError {
        ModelError::File { action, path: self.path.clone(), source }
    }
}

/// Changes a run of a tensor's elements in place; the first argument is the index of the first.
pub type Alteration<'a> = Box<dyn FnMut(usize, &mut [f32]) + 'a>;

fn decode(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(FLOAT).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

fn tensor_error(tensor: &str, problem: &str) -> ModelError {
    ModelError::Tensor { tensor: tensor.to_owned(), problem: problem.to_owned() }
}
