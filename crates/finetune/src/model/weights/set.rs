//! All weight files of a folder as one: `model.safetensors`, or the shards that `model.safetensors.index.json` names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::TensorInfo;
use serde::Deserialize;

use super::super::{ModelError, replace};
use super::element::Element;
use super::file::{Alteration, WeightFile};
use super::tensor_error;

/// The only file, in most folders.
const WHOLE: &str = "model.safetensors";
/// What names the shards of a large model.
const INDEX: &str = "model.safetensors.index.json";
/// What older folders hold: pickled Python objects, which can run code when they are read.
const PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// The open weights of a model folder.
#[derive(Debug)]
pub struct WeightSet {
    files: Vec<WeightFile>,
    /// The index as it stands in the folder, when there is one.
    index: Option<Vec<u8>>,
    /// What stands before tensor names in files saved from a model with a task head.
    prefix: &'static str,
}

#[derive(Deserialize)]
struct Index {
    /// Tensor to file name.
    weight_map: BTreeMap<String, String>,
}

impl WeightSet {
    /// Opens the weights of `folder`, checking each file's header.
    pub(in super::super) fn open(folder: &Path, prefix: &'static str) -> Result<Self, ModelError> {
        let index = folder.join(INDEX);
        // transformers looks for them in this order, too.
        if folder.join(WHOLE).exists() {
            Ok(Self { files: vec![WeightFile::open(&folder.join(WHOLE))?], index: None, prefix })
        } else if index.exists() {
            Self::open_shards(folder, &index, prefix)
        } else if PICKLES.iter().any(|name| folder.join(name).exists()) {
            Err(ModelError::Unsupported {
                what: "weight file",
                found: PICKLES[0].to_owned(),
                supported: "model.safetensors (convert with: python -c \"from sentence_transformers import SentenceTransformer as S; S('FOLDER').save('NEW')\")",
            })
        } else {
            // Says which file is missing.
            Ok(Self { files: vec![WeightFile::open(&folder.join(WHOLE))?], index: None, prefix })
        }
    }

    fn open_shards(folder: &Path, path: &Path, prefix: &'static str) -> Result<Self, ModelError> {
        let bytes = fs::read(path).map_err(|source| ModelError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        let index: Index =
            serde_json::from_slice(&bytes).map_err(|source| ModelError::Config { file: INDEX, source })?;
        let damaged = |problem: String| ModelError::Weights { path: path.to_owned(), problem };
        let names: BTreeSet<&String> = index.weight_map.values().collect();
        let mut files = BTreeMap::new();
        for name in names {
            if Path::new(name).file_name() != Some(OsStr::new(name)) || !name.ends_with(".safetensors") {
                return Err(damaged(format!(
                    "it names {name:?}, which is no safetensors file of the folder"
                )));
            }
            files.insert(name, WeightFile::open(&folder.join(name))?);
        }
        for (tensor, name) in &index.weight_map {
            if files.get(name).is_none_or(|file| file.tensor(tensor).is_none()) {
                return Err(damaged(format!("it looks for {tensor} in {name}, which doesn't have it")));
            }
        }
        Ok(Self { files: files.into_values().collect(), index: Some(bytes), prefix })
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<(&WeightFile, &TensorInfo, Element), ModelError> {
        let (file, info) = [name.to_owned(), format!("{}{name}", self.prefix)]
            .iter()
            .find_map(|name| self.files.iter().find_map(|file| Some((file, file.tensor(name)?))))
            .ok_or_else(|| tensor_error(name, "is missing"))?;
        if info.shape != shape {
            let problem = format!("has shape {:?} and config.json asks for {shape:?}", info.shape);
            return Err(tensor_error(name, &problem));
        }
        let element = Element::from_dtype(info.dtype).ok_or_else(|| {
            let problem = format!("is {:?}; only {} can be trained", info.dtype, Element::SUPPORTED);
            tensor_error(name, &problem)
        })?;
        Ok((file, info, element))
    }

    /// Reads a whole tensor, appending its elements to `into`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when it is missing or not of this shape.
    pub fn read(&self, name: &str, shape: &[usize], into: &mut Vec<f32>) -> Result<(), ModelError> {
        let (file, info, element) = self.find(name, shape)?;
        file.read(info, element, [(0, shape.iter().product())], into)
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
        let (file, info, element) = self.find(name, &shape)?;
        if let Some(row) = rows.iter().find(|row| **row as usize >= shape[0]) {
            return Err(tensor_error(name, &format!("has {} rows and row {row} is needed", shape[0])));
        }
        file.read(info, element, rows.iter().map(|row| (*row as usize * shape[1], shape[1])), into)
    }

    /// Writes files like these, of the same names, into `folder`, in which the named tensors are altered; all
    /// else, headers, order and types of numbers included, stays as it is. An alteration is called with runs of a
    /// tensor's elements, in order.
    ///
    /// Each file is written beside, synced and renamed; the index of shards comes last.
    ///
    /// # Errors
    /// [`ModelError::File`] when a file can't be read or written.
    pub fn rewrite(
        &self,
        folder: &Path,
        alterations: &mut HashMap<String, Alteration<'_>>,
    ) -> Result<(), ModelError> {
        for file in &self.files {
            let name = file.path().file_name().unwrap_or(OsStr::new(WHOLE));
            file.rewrite(&folder.join(name), self.prefix, alterations)?;
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
