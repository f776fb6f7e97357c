//! The artifacts of an encoder as files, with a manifest of its parameters.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable::replace;
use crate::model::{Architecture, DropoutRates, EncoderConfig, Head, ModelError};

use super::super::contrastive::{Loss, Ranking};
use super::super::form::GraphForm;
use super::super::parameter::{Parameter, parameters};
use super::{eval_model, optimizer_model, training_model};

/// Settings that the graphs depend on, besides the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ArtifactSettings {
    /// Directions in which the loss ranks a pair.
    pub loss: Loss,
    /// Factor that multiplies cosines before the softmax.
    pub scale: f32,
    /// AdamW's decay factor of the first moment.
    pub beta_1: f32,
    /// AdamW's decay factor of the second moment.
    pub beta_2: f32,
    /// Term added to the square root of the second moment.
    pub epsilon: f32,
}

impl Default for ArtifactSettings {
    /// Returns the symmetric loss at scale 20, and PyTorch's defaults of AdamW.
    fn default() -> Self {
        Self { loss: Loss::default(), scale: 20.0, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 }
    }
}

/// Description of the artifacts for programs that train with them: the inputs to feed and the
/// outputs to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The encoder's architecture.
    pub architecture: Architecture,
    /// Pooling and normalization after the encoder.
    pub head: Head,
    /// Further settings that the graphs depend on.
    pub settings: ArtifactSettings,
    /// Trainable tensors, in checkpoint order.
    pub parameters: Vec<Parameter>,
}

/// The artifacts of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ArtifactSet {
    /// Contents of `training_model.onnx`.
    pub training: Vec<u8>,
    /// Contents of `eval_model.onnx`.
    pub evaluation: Vec<u8>,
    /// Contents of `optimizer_model.onnx`.
    pub optimizer: Vec<u8>,
    /// Contents of `manifest.json`.
    pub manifest: Manifest,
}

impl ArtifactSet {
    /// Builds the artifacts of an encoder of this shape. The same arguments give the same bytes.
    pub fn new(config: &EncoderConfig, head: Head, settings: ArtifactSettings) -> Self {
        let ArtifactSettings { loss, scale, beta_1, beta_2, epsilon } = settings;
        let ranking = Ranking { loss, scale, hard_negatives: false };
        Self {
            training: training_model(GraphForm::Standard, config, head.pooling, ranking, DropoutRates::OFF),
            evaluation: eval_model(config, head),
            optimizer: optimizer_model(beta_1, beta_2, epsilon),
            manifest: Manifest {
                architecture: config.architecture,
                head,
                settings,
                parameters: parameters(config),
            },
        }
    }

    /// Returns the files with their names.
    ///
    /// # Errors
    /// [`ModelError::Config`] when the manifest can't be written as JSON.
    pub fn files(&self) -> Result<[(&'static str, Vec<u8>); 4], ModelError> {
        let mut manifest = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|source| ModelError::Config { file: "manifest.json", source })?;
        manifest.push(b'\n');
        Ok([
            ("training_model.onnx", self.training.clone()),
            ("eval_model.onnx", self.evaluation.clone()),
            ("optimizer_model.onnx", self.optimizer.clone()),
            ("manifest.json", manifest),
        ])
    }

    /// Writes the files into `folder`, which is created if missing. Each file is written beside its
    /// destination, synced, and renamed into place.
    ///
    /// # Errors
    /// [`ModelError::File`] when a file or the folder can't be written.
    pub fn write(&self, folder: &Path) -> Result<(), ModelError> {
        let failed =
            |path: &Path, source| ModelError::File { action: "write", path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        for (name, bytes) in self.files()? {
            let path = folder.join(name);
            replace(&path, |file| file.write_all(&bytes)).map_err(|source| failed(&path, source))?;
        }
        Ok(())
    }
}
