//! Weight files that PyTorch has pickled, such as `pytorch_model.bin`: read without running any of
//! their code.
//!
//! Since PyTorch 1.6 such a file is a zip: one pickle that describes the tensors, and one entry per
//! storage with its plain numbers. Only the pickle is read as a whole. The tensors are then read by
//! range, as those of a safetensors file are.
//!
//! ```text
//! pickle  the machine that reads the description
//! ```

mod pickle;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::super::ModelError;
use pickle::{PickleError, Tensor};

/// Largest pickle in bytes. That of a model has about a hundred bytes per tensor.
const MAX_PICKLE: u64 = 16 << 20;
/// Largest number of entries of the zip: one per tensor, and a few more.
const MAX_ENTRIES: usize = 100_000;
/// Largest sum of the tensors' sizes, as a multiple of the file's. Tensors may share a storage.
const MAX_SHARED: u64 = 4;
/// First bytes of a zip.
const ZIP: &[u8] = b"PK\x03\x04";
/// Description of the files that are read, for error messages.
const SUPPORTED: &str = "a dictionary of tensors saved by PyTorch 1.6 or newer, or model.safetensors";

/// Tensors of a pickled file.
#[derive(Debug)]
pub(super) struct TorchFile {
    /// Names, types and shapes, laid out as in a safetensors file.
    pub(super) metadata: Metadata,
    /// Place of each tensor's first byte in the file, by its offset in the layout.
    pub(super) starts: HashMap<usize, u64>,
}

impl TorchFile {
    /// Opens a file, and reads and checks its description.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] when the file needs more than tensors, [`ModelError::Weights`] when
    /// it is damaged.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::File { action: "read", path: path.to_owned(), source };
        let damaged =
            |problem: &str| ModelError::Weights { path: path.to_owned(), problem: problem.to_owned() };
        let refused = |what: &str| ModelError::Unsupported {
            what: "weight file",
            found: format!("{} with {what}", path.file_name().unwrap_or_default().to_string_lossy()),
            supported: SUPPORTED,
        };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut first = [0; ZIP.len()];
        file.read_exact(&mut first).map_err(|_| damaged("it is shorter than its header"))?;
        if first != ZIP {
            return Err(refused("the layout of PyTorch before 1.6, or of another program"));
        }
        file.rewind().map_err(failed)?;
        let unzipped = |error: ZipError| match error {
            ZipError::Io(source) => failed(source),
            other => damaged(&other.to_string()),
        };
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(unzipped)?;
        if zip.len() > MAX_ENTRIES {
            return Err(refused("more entries than any model has"));
        }
        let names: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
        let top = names.iter().find_map(|name| name.strip_suffix("/data.pkl"));
        let top = top.ok_or_else(|| damaged("it is a zip without the entry data.pkl"))?;
        let pickle = small_entry(&mut zip, &format!("{top}/data.pkl"), MAX_PICKLE).map_err(unzipped)?;
        let pickle = pickle.ok_or_else(|| refused("a description larger than that of any model"))?;
        let order = format!("{top}/byteorder");
        if names.contains(&order)
            && small_entry(&mut zip, &order, 16).map_err(unzipped)?.as_deref() != Some(b"little")
        {
            return Err(refused("numbers in the byte order of another machine"));
        }
        let tensors = pickle::tensors(&pickle).map_err(|error| match error {
            PickleError::Damaged(problem) => damaged(problem),
            PickleError::Refused(what) => refused(&what),
        })?;

        let mut starts = HashMap::new();
        let mut layout = Vec::with_capacity(tensors.len());
        let (mut end, mut storages) = (0u64, HashMap::new());
        for (name, tensor) in tensors {
            let entry = format!("{top}/data/{}", tensor.storage);
            let (start, size) = match storages.get(&entry) {
                Some(known) => *known,
                None => {
                    let found = stored_entry(&mut zip, &entry).map_err(unzipped)?;
                    let found = found.ok_or_else(|| refused("compressed numbers"))?;
                    if found.0.checked_add(found.1).is_none_or(|end| end > length) {
                        return Err(damaged("it is cut short"));
                    }
                    storages.insert(entry, found);
                    found
                }
            };
            let (skip, bytes) =
                window(&tensor, size).ok_or_else(|| damaged("a tensor is larger than its storage"))?;
            let begin = end;
            end += bytes;
            if end > length.saturating_mul(MAX_SHARED) {
                return Err(refused("tensors that share their numbers too often"));
            }
            starts.insert(begin as usize, start + skip);
            let data_offsets = (begin as usize, end as usize);
            layout.push((name, TensorInfo { dtype: tensor.kind.0, shape: tensor.shape, data_offsets }));
        }
        // `transformers` reads a safetensors file only if it says so.
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let metadata = Metadata::new(Some(format), layout).map_err(|error| damaged(&error.to_string()))?;
        Ok(Self { metadata, starts })
    }
}

/// Returns the number of bytes before a tensor in its storage of `size` bytes, and the tensor's own;
/// `None` when the storage is too short.
fn window(tensor: &Tensor, size: u64) -> Option<(u64, u64)> {
    let element = (tensor.kind.0.bitsize() / 8) as u64;
    let elements = tensor.shape.iter().try_fold(1u64, |all, size| all.checked_mul(*size as u64))?;
    let last = tensor.offset.checked_add(elements)?;
    let fits = last <= tensor.length && tensor.length.checked_mul(element)? <= size;
    fits.then_some(())?;
    Some((tensor.offset * element, elements * element))
}

/// Reads an entry; `None` when it is longer than `limit` bytes.
fn small_entry(
    zip: &mut ZipArchive<BufReader<File>>,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, ZipError> {
    let entry = zip.by_name(name)?;
    let mut bytes = Vec::new();
    entry.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// Returns the place and the length of an entry's bytes in the file; `None` when they are
/// compressed.
fn stored_entry(zip: &mut ZipArchive<BufReader<File>>, name: &str) -> Result<Option<(u64, u64)>, ZipError> {
    let entry = zip.by_name(name)?;
    let start = entry.data_start().filter(|_| entry.compression() == CompressionMethod::Stored);
    Ok(start.map(|start| (start, entry.size())))
}
