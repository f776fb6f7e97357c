//! Weight files that PyTorch has pickled, such as `pytorch_model.bin`: read without running any of
//! their code.
//!
//! Since PyTorch 1.6 such a file is a zip: one pickle that describes the tensors, and one entry per
//! storage with its plain numbers. Before, it was some pickles with all storages after them. Only the
//! pickles are read as a whole. The tensors are then read by range, as those of a safetensors file are.
//!
//! ```text
//! pickle    the machine that reads the description
//! storages  the places of the numbers, in both layouts
//! ```

mod pickle;
mod storages;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

use super::super::ModelError;
use super::super::files::open;
use pickle::{PickleError, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};
use storages::StorageError;

/// Largest sum of the tensors' sizes, as a multiple of the file's. Tensors may share a storage.
const MAX_SHARED: u64 = 4;
/// Description of the files that are read, for error messages.
const SUPPORTED: &str = "a dictionary of tensors saved by PyTorch, or model.safetensors";

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
        let file = open(path)?;
        let length = file.metadata().map_err(failed)?.len();
        let described = storages::read(file, length).map_err(|error| match error {
            StorageError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => damaged("it is cut short"),
            StorageError::Io(source) => failed(source),
            StorageError::Pickle(PickleError::Damaged(problem)) => damaged(problem),
            StorageError::Pickle(PickleError::Refused(what)) => refused(&what),
            StorageError::Zip(error) => damaged(&error.to_string()),
        })?;

        let mut starts = HashMap::new();
        let mut layout = Vec::with_capacity(described.tensors.len());
        let mut end = 0u64;
        for (name, tensor) in described.tensors {
            let place = described.places.get(&tensor.storage);
            let (start, size) = *place.ok_or_else(|| damaged("the numbers of a tensor are missing"))?;
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
