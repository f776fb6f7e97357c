//! All weight files of a folder as one set: `model.safetensors`, or the shards that
//! `model.safetensors.index.json` names, or else the same two of PyTorch's own format.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::tensor::TensorInfo;
use serde::Deserialize;

use super::super::ModelError;
use super::super::files::open;
use super::element::Element;
use super::file::{Alteration, WeightFile};
use super::file_names::{INDEX, PICKLED, PICKLED_INDEX, WHOLE, copied_name};
use super::{name_in_model, names_in_files, tensor_error};
use crate::durable::replace;

/// Largest index of shards that is read, in bytes.
const MAX_INDEX: u64 = 64 << 20;

/// The open weights of a model folder.
#[derive(Debug)]
pub struct WeightSet {
    files: Vec<WeightFile>,
    /// Bytes of the index of the shards' copies, if there are shards.
    index: Option<Vec<u8>>,
    /// Prefix of tensor names in files saved from a model with a task head.
    prefix: &'static str,
}

#[derive(Deserialize)]
struct Index {
    /// File name of each tensor.
    weight_map: BTreeMap<String, String>,
}

impl WeightSet {
    /// Opens the weights of `folder` and checks each file's header.
    pub(in super::super) fn open(folder: &Path, prefix: &'static str) -> Result<Self, ModelError> {
        let set = Self::open_files(folder, prefix)?;
        set.check_names()?;
        Ok(set)
    }

    fn open_files(folder: &Path, prefix: &'static str) -> Result<Self, ModelError> {
        // transformers looks for the files in this order, too: no pickle is read beside safetensors.
        let (whole, index) = (folder.join(WHOLE), folder.join(INDEX));
        let (pickled, pickled_index) = (folder.join(PICKLED), folder.join(PICKLED_INDEX));
        if !whole.exists() && index.exists() {
            Self::open_shards(folder, &index, prefix)
        } else if !whole.exists() && pickled.exists() {
            Ok(Self { files: vec![WeightFile::open_pickled(&pickled)?], index: None, prefix })
        } else if !whole.exists() && pickled_index.exists() {
            Self::open_shards(folder, &pickled_index, prefix)
        } else {
            // Fails with an error that names the missing file when there is none.
            Ok(Self { files: vec![WeightFile::open(&whole)?], index: None, prefix })
        }
    }

    fn open_shards(folder: &Path, path: &Path, prefix: &'static str) -> Result<Self, ModelError> {
        let failed = |source| ModelError::File { action: "read", path: path.to_owned(), source };
        let file_name = if path.ends_with(INDEX) { INDEX } else { PICKLED_INDEX };
        let mut bytes = Vec::new();
        open(path)?.take(MAX_INDEX).read_to_end(&mut bytes).map_err(failed)?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|source| ModelError::Config { file: file_name, source })?;
        let damaged = |problem: String| ModelError::Weights { path: path.to_owned(), problem };
        let (ending, kind) = match file_name {
            INDEX => (".safetensors", "a safetensors file"),
            _ => (".bin", "a .bin file"),
        };
        let names: BTreeSet<&String> = index.weight_map.values().collect();
        let mut files = BTreeMap::new();
        for name in names {
            if Path::new(name).file_name() != Some(OsStr::new(name)) || !name.ends_with(ending) {
                return Err(damaged(format!("it names {name:?}, which is not {kind} of the folder")));
            }
            let shard = folder.join(name);
            files.insert(
                name,
                match file_name {
                    INDEX => WeightFile::open(&shard)?,
                    _ => WeightFile::open_pickled(&shard)?,
                },
            );
        }
        for (tensor, name) in &index.weight_map {
            if files.get(name).is_none_or(|file| file.tensor(tensor).is_none()) {
                return Err(damaged(format!("it places {tensor} in {name}, which lacks that tensor")));
            }
        }
        let files: Vec<WeightFile> = files.into_values().collect();
        if file_name == PICKLED_INDEX {
            bytes = copied_index(&index).map_err(|source| ModelError::Config { file: file_name, source })?;
        }
        Ok(Self { files, index: Some(bytes), prefix })
    }

    /// Refuses files that hold a tensor twice, such as `x` and `bert.x`: readers differ in the one that
    /// they take.
    fn check_names(&self) -> Result<(), ModelError> {
        let mut known: HashMap<String, String> = HashMap::new();
        for file in &self.files {
            for name in file.names() {
                let of_model = name_in_model(&name, self.prefix);
                if let Some(other) = known.insert(of_model, name.clone()) {
                    let problem = format!("it holds one tensor twice, as {other:?} and {name:?}");
                    return Err(ModelError::Weights { path: file.path().to_owned(), problem });
                }
            }
        }
        Ok(())
    }

    /// Checks that a tensor is there with this shape, and reads none of its elements.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the tensor is missing or has another shape.
    pub fn check(&self, name: &str, shape: &[usize]) -> Result<(), ModelError> {
        self.find(name, shape).map(drop)
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<(&WeightFile, &TensorInfo, Element), ModelError> {
        let (file, info) = names_in_files(name, self.prefix)
            .iter()
            .find_map(|name| self.files.iter().find_map(|file| Some((file, file.tensor(name)?))))
            .ok_or_else(|| tensor_error(name, "is missing"))?;
        if info.shape != shape {
            let problem = format!("has shape {:?}, but config.json requires {shape:?}", info.shape);
            return Err(tensor_error(name, &problem));
        }
        let element = Element::from_dtype(info.dtype).ok_or_else(|| {
            let problem = format!("is {:?}; only {} can be trained", info.dtype, Element::SUPPORTED);
            tensor_error(name, &problem)
        })?;
        Ok((file, info, element))
    }

    /// Reads a whole tensor and appends its elements to `into`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the tensor is missing or has another shape.
    pub fn read(&self, name: &str, shape: &[usize], into: &mut Vec<f32>) -> Result<(), ModelError> {
        let (file, info, element) = self.find(name, shape)?;
        file.read(info, element, [(0, shape.iter().product())], into)
    }

    /// Reads rows of a matrix in the given order and appends their elements to `into`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the matrix is missing, has another shape, or lacks one of the
    /// rows.
    pub fn read_rows(
        &self,
        name: &str,
        shape: [usize; 2],
        rows: &[u32],
        into: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let (file, info, element) = self.find(name, &shape)?;
        if let Some(row) = rows.iter().find(|row| **row as usize >= shape[0]) {
            return Err(tensor_error(name, &format!("has {} rows, but row {row} is needed", shape[0])));
        }
        file.read(info, element, rows.iter().map(|row| (*row as usize * shape[1], shape[1])), into)
    }

    /// Writes copies of these files in safetensors into `folder`, with the named tensors altered.
    ///
    /// Everything else stays as it is, including names, headers, order and number formats. A pickled
    /// file gets the name that `transformers` gives a safetensors file. An alteration
    /// is called with consecutive elements of its tensor, in order. Each file is replaced
    /// atomically; the index of shards is written last.
    ///
    /// # Errors
    /// [`ModelError::File`] when a file can't be read or written.
    pub fn rewrite(
        &self,
        folder: &Path,
        alterations: &mut HashMap<String, Alteration<'_>>,
    ) -> Result<(), ModelError> {
        for file in &self.files {
            let name = file.path().file_name().unwrap_or(OsStr::new(WHOLE)).to_string_lossy();
            file.rewrite(&folder.join(copied_name(&name)), self.prefix, alterations)?;
        }
        let Some(index) = &self.index else { return Ok(()) };
        let path = folder.join(INDEX);
        replace(&path, |file| file.write_all(index)).map_err(|source| ModelError::File {
            action: "write",
            path: path.clone(),
            source,
        })
    }
}

/// Returns the index of the copies of pickled shards.
fn copied_index(index: &Index) -> serde_json::Result<Vec<u8>> {
    let places: BTreeMap<&String, String> =
        index.weight_map.iter().map(|(tensor, name)| (tensor, copied_name(name))).collect();
    serde_json::to_vec_pretty(&serde_json::json!({ "metadata": {}, "weight_map": places }))
}
