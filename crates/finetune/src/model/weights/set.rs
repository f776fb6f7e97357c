//! All weight files of a folder as one set: `model.safetensors`, or the shards that
//! `model.safetensors.index.json` names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::TensorInfo;
use serde::Deserialize;

use super::super::ModelError;
use super::element::Element;
use super::file::{Alteration, WeightFile};
use super::{first_name, tensor_error};
use crate::durable::replace;

/// Name of the only weight file, in most folders.
const WHOLE: &str = "model.safetensors";
/// Name of the index that lists the shards of a large model.
const INDEX: &str = "model.safetensors.index.json";
/// Names of the weight files of older folders: pickled Python objects, which can run code when they
/// are read.
const PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// The open weights of a model folder.
#[derive(Debug)]
pub struct WeightSet {
    files: Vec<WeightFile>,
    /// Bytes of the index file, if there is one.
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
        let index = folder.join(INDEX);
        // transformers looks for the files in this order, too.
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
            // Fails with an error that names the missing file.
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
                    "it names {name:?}, which is not a safetensors file of the folder"
                )));
            }
            files.insert(name, WeightFile::open(&folder.join(name))?);
        }
        for (tensor, name) in &index.weight_map {
            if files.get(name).is_none_or(|file| file.tensor(tensor).is_none()) {
                return Err(damaged(format!("it places {tensor} in {name}, which lacks that tensor")));
            }
        }
        Ok(Self { files: files.into_values().collect(), index: Some(bytes), prefix })
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<(&WeightFile, &TensorInfo, Element), ModelError> {
        let prefixed = |name: &str| [name.to_owned(), format!("{}{name}", self.prefix)];
        let first = first_name(name).map(|first| prefixed(&first));
        let (file, info) = prefixed(name)
            .iter()
            .chain(first.iter().flatten())
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

    /// Writes copies of these files, under the same names, into `folder`, with the named tensors
    /// altered.
    ///
    /// Everything else stays as it is, including headers, order and number formats. An alteration
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
