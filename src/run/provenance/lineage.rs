//! The lineage of a model: everything besides the rows that determines its weights. The rows are
//! identified by their ids and hash.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::default_value::is_default;
use crate::evaluate::HoldOut;
use crate::hub::{Digest, Hasher};
use crate::synthesis::SynthesisSettings;
use crate::templates::Templates;
use autovalidate_finetune::model::{ModelFolder, TokenizerChoice, is_pickled};
use autovalidate_finetune::onnx::Device;
use autovalidate_finetune::train::Recipe;

use crate::run::error::RunError;
use crate::run::storage::{BaseModel, ModelOrigin, entries};

/// Everything besides the rows that determines a model's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// Model that training started from.
    pub base: Ancestor,
    /// Last stream sequence that was read; `None` when the rows did not come from the queue.
    pub last_sequence: Option<u64>,
    /// Tokens that the model was trained on. Receipts from before this setting lack it, which means those
    /// of the base.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokenizer: TokenizerChoice,
    /// Training recipe, with its seed.
    pub recipe: Recipe,
    /// Settings of the synthetic typos.
    pub synthesis: SynthesisSettings,
    /// Shares of pairs that were held out.
    pub hold_out: HoldOut,
    /// Templates that rendered texts as model input.
    pub templates: Templates,
    /// Number of computing threads. Sums depend on how they are split between threads.
    pub threads: usize,
    /// Device that computed. Each device rounds differently.
    #[serde(default)]
    pub device: Device,
    /// Version of the trainer.
    pub trainer: String,
    /// SHA-256 of the resulting weights; `None` until the model is packaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<Digest>,
}

/// Model that another model was trained from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Path of a release, Hub name, or name of a folder.
    pub name: String,
    /// Origin of the model.
    pub origin: ModelOrigin,
    /// SHA-256 of the model's weights; see [`weights_digest`].
    pub weights_sha256: Digest,
}

impl Ancestor {
    /// Hashes a base model. Blocks.
    pub(in crate::run) fn of(base: &BaseModel) -> Result<Self, RunError> {
        let weights_sha256 = weights_digest(&base.folder)?;
        Ok(Self { name: base.label.clone(), origin: base.origin, weights_sha256 })
    }
}

/// Returns the SHA-256 of a folder's weights: of `model.safetensors`, or of all `.safetensors`
/// files concatenated in the order of their names, as `cat *.safetensors | sha256sum` prints it. In a
/// folder without any, of its `pytorch_model*.bin` files. Blocks.
///
/// # Errors
/// [`RunError::File`] when a file can't be read.
pub fn weights_digest(folder: &ModelFolder) -> Result<Digest, RunError> {
    let is_weights = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "safetensors");
    let is_pickled = |path: &PathBuf| is_pickled(&path.file_name().unwrap_or_default().to_string_lossy());
    let all = entries(&folder.encoder_path())?;
    let mut files: Vec<&PathBuf> = all.iter().filter(|path| is_weights(path)).collect();
    if files.is_empty() {
        files = all.iter().filter(|path| is_pickled(path)).collect();
    }
    files.sort();
    let mut hasher = Hasher::default();
    let read = |path: &Path, hasher: &mut Hasher| hasher.read_from(&mut std::fs::File::open(path)?);
    for path in files {
        read(path, &mut hasher).map_err(RunError::file("read", path))?;
    }
    Ok(hasher.digest())
}
