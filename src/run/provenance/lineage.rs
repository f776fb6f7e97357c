//! What a model descends from: all that decides its weights beside the rows, which their ids and hash name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::correction::Templates;
use crate::evaluate::HoldOut;
use crate::hub::{Digest, Hasher};
use crate::synthesis::SynthesisSettings;
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Device;
use autovalidate_finetune::train::Recipe;

use crate::run::error::RunError;
use crate::run::storage::entries;
use crate::run::storage::{BaseModel, ModelOrigin};

/// All that decides a model's weights, beside the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The model training started from.
    pub base: Ancestor,
    /// The last message of the stream that was read, if the rows came from the queue.
    pub last_sequence: Option<u64>,
    /// The settings of the training, its seed among them.
    pub recipe: Recipe,
    /// How typos were made up.
    pub synthesis: SynthesisSettings,
    /// What was held out.
    pub hold_out: HoldOut,
    /// What the model sees of a text.
    pub templates: Templates,
    /// Threads that computed: sums depend on how they are split.
    pub threads: usize,
    /// Where it was computed, which rounds in its own way.
    #[serde(default)]
    pub device: Device,
    /// The trainer's version.
    pub trainer: String,
    /// SHA-256 of the weights that came out; not known while they are in the making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<Digest>,
}

/// A model that another one was trained from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ancestor {
    /// A release's path, a Hub name or a folder's name.
    pub name: String,
    /// Where it came from.
    pub origin: ModelOrigin,
    /// SHA-256 of its weights; see [`weights_digest`].
    pub weights_sha256: Digest,
}

impl Ancestor {
    /// Digests a base model. Blocks.
    pub(in crate::run) fn of(base: &BaseModel) -> Result<Self, RunError> {
        let weights_sha256 = weights_digest(&base.folder)?;
        Ok(Self { name: base.label.clone(), origin: base.origin, weights_sha256 })
    }
}

/// SHA-256 of a folder's weights: of `model.safetensors`, or of all its `.safetensors` files one after the other in the
/// order of their names, as `cat *.safetensors | sha256sum` says it. Blocks.
///
/// # Errors
/// [`RunError::File`] when they can't be read.
pub fn weights_digest(folder: &ModelFolder) -> Result<Digest, RunError> {
    let is_weights = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "safetensors");
    let mut files: Vec<PathBuf> = entries(folder.path())?.into_iter().filter(is_weights).collect();
    files.sort();
    let mut hasher = Hasher::default();
    let read = |path: &Path, hasher: &mut Hasher| hasher.read_from(&mut std::fs::File::open(path)?);
    for path in &files {
        read(path, &mut hasher).map_err(RunError::file("read", path))?;
    }
    Ok(hasher.digest())
}
