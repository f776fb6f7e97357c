//! Export of a finished run: a model folder with the original's files and new weights, and the same
//! model as ONNX.

use std::fs;
use std::io::Write;
use std::path::Path;

use ndarray::{Array2, Axis};
use ort::value::TensorRef;

use crate::durable::replace;
use crate::model::{ModelError, ModelFolder};
use crate::onnx::{Runtime, RuntimeError, inference_model};

use super::{ParameterBuffer, TrainError};

/// Path of the exported ONNX model inside a model folder.
pub const ONNX_MODEL: &str = "onnx/model.onnx";

/// Writes a model folder like `original`, with these parameters, into `to`, which must exist and be
/// empty. The folder holds everything that `SentenceTransformer(path)` needs, and
/// `onnx/model.onnx`.
///
/// `decay_factor` is the factor by which weight decay shrank the token rows that were not trained.
///
/// # Errors
/// [`ModelError`] when a file can't be read or written.
pub fn export(
    original: &ModelFolder,
    parameters: &ParameterBuffer,
    decay_factor: f64,
    to: &Path,
) -> Result<(), ModelError> {
    original.copy_description(to)?;
    parameters.save(&original.weights()?, to, decay_factor)?;

    // From the written folder, so that both forms hold the same numbers when weights are rounded to
    // 16 bits.
    let written = ModelFolder::open(to)?;
    let model = exported(&written)?;
    let path = to.join(ONNX_MODEL);
    let failed = |source| ModelError::File { action: "write", path: path.clone(), source };
    fs::create_dir_all(to.join("onnx")).map_err(failed)?;
    replace(&path, |file| file.write_all(&model)).map_err(failed)
}

/// Returns a folder's model, with its weights inside, as an encoded ONNX file.
///
/// # Errors
/// [`ModelError`] when the weights can't be read.
pub fn exported(folder: &ModelFolder) -> Result<Vec<u8>, ModelError> {
    let weights = folder.weights()?;
    inference_model(&folder.config, folder.head, folder.dimension, |parameter| {
        let mut elements = Vec::with_capacity(parameter.elements());
        let shape = parameter.source_shape();
        for source in &parameter.sources {
            weights.read(source, &shape, &mut elements)?;
        }
        Ok(elements)
    })
}

/// Embeds texts with a folder's `onnx/model.onnx` as any ONNX consumer would: with padding, and
/// with the weights from the file.
///
/// # Errors
/// [`TrainError`] when the folder can't be read or the runtime fails.
pub fn embed_exported<S: AsRef<str>>(
    runtime: &Runtime,
    folder: &ModelFolder,
    texts: &[S],
) -> Result<Array2<f32>, TrainError> {
    const TEXTS: usize = 32;
    let path = folder.path().join(ONNX_MODEL);
    let bytes = fs::read(&path).map_err(|source| ModelError::File { action: "read", path, source })?;
    let mut session = runtime.session(&bytes)?;
    let tokens = folder.tokenizer()?.encode(texts)?.texts;
    let mut embeddings = Array2::zeros((0, folder.dimension));
    for chunk in tokens.chunks(TEXTS) {
        let longest = chunk.iter().map(Vec::len).max().unwrap_or(0);
        let ids = Array2::from_shape_fn((chunk.len(), longest), |(text, place)| {
            chunk[text].get(place).map_or(0, |id| i64::from(*id))
        });
        let mask = Array2::from_shape_fn((chunk.len(), longest), |(text, place)| {
            i64::from(place < chunk[text].len())
        });
        let types = Array2::<i64>::zeros((chunk.len(), longest));
        let take = RuntimeError::call("take a batch");
        let mut inputs = ort::inputs! {
            "input_ids" => TensorRef::from_array_view(ids.view()).map_err(&take)?,
            "attention_mask" => TensorRef::from_array_view(mask.view()).map_err(&take)?,
        };
        if folder.config.architecture.description().token_type_input {
            let types = TensorRef::from_array_view(types.view()).map_err(&take)?;
            inputs.push(("token_type_ids".into(), types.into()));
        }
        let outputs = session.run(inputs).map_err(RuntimeError::call("run the exported model"))?;
        let rows = outputs["sentence_embedding"]
            .try_extract_array::<f32>()
            .map_err(RuntimeError::call("read embeddings"))?;
        for row in rows.axis_iter(Axis(0)) {
            let row = row.into_dimensionality().map_err(|_| RuntimeError::Shape("sentence_embedding"))?;
            embeddings.push_row(row).map_err(|_| RuntimeError::Shape("sentence_embedding"))?;
        }
    }
    Ok(embeddings)
}
