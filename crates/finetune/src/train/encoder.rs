//! Embedding of texts, with the evaluation graph and parameters that may still be in training.

use ndarray::{Array2, ArrayView2, Axis};
use ort::session::Session;

use crate::model::{DropoutRates, EncoderConfig, Head, ModelFolder};
use crate::onnx::{Device, Runtime, RuntimeError, dropped_model};

use super::gradients::feed_matrix;
use super::packed::PackedTexts;
use super::resident::DeviceParameters;
use super::{ParameterBuffer, TrainError, Vocabulary};

/// Number of texts encoded at a time: enough to keep the matrix products busy, few enough to need
/// little memory.
const TEXTS: usize = 64;

/// A session of the evaluation graph.
pub struct Encoder {
    session: Session,
    config: EncoderConfig,
    head: Head,
    /// Number of columns that an embedding keeps.
    dimension: usize,
    /// Device that holds the parameters while texts are embedded; `None` when the host feeds them.
    resident: Option<Device>,
}

impl Encoder {
    /// Opens the evaluation graph of an encoder.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when the runtime refuses the graph.
    pub fn new(runtime: &Runtime, config: &EncoderConfig, head: Head) -> Result<Self, TrainError> {
        let session = runtime.session(&dropped_model(runtime.form(), config, head, DropoutRates::OFF))?;
        let resident = runtime.resident().then(|| runtime.device());
        Ok(Self { session, config: config.clone(), head, dimension: config.hidden, resident })
    }

    /// Loads the graph of a folder's model. Embeddings have the folder's dimension.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when the runtime refuses the graph.
    pub fn of(runtime: &Runtime, folder: &ModelFolder) -> Result<Self, TrainError> {
        let encoder = Self::new(runtime, &folder.config, folder.head)?;
        Ok(Self { dimension: folder.dimension, ..encoder })
    }

    /// Embeds texts, given as rows of the parameters' vocabulary. Returns `[texts, H]`, in order, or
    /// fewer columns for a folder that keeps fewer.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when the runtime fails.
    pub fn embed(
        &mut self,
        parameters: &ParameterBuffer,
        texts: &[Vec<u32>],
    ) -> Result<Array2<f32>, TrainError> {
        let mut embeddings = Array2::zeros((texts.len(), self.dimension));
        let on_device = self.resident.map(|device| DeviceParameters::new(device, parameters)).transpose()?;
        // Texts of similar length share a chunk, so that attention pads little.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|text| texts[*text].len());
        for chunk in order.chunks(TEXTS) {
            let of: Vec<&[u32]> = chunk.iter().map(|text| texts[*text].as_slice()).collect();
            let packed = PackedTexts::new(&of, &self.config, self.head.pooling);
            let pooling = packed.pooling(&(0..of.len()).collect::<Vec<_>>());
            let mut inputs = Vec::new();
            packed.feed(&self.session, &mut inputs)?;
            inputs.push(("pooling".to_owned(), feed_matrix(&pooling)?));
            let (output, action) = ("sentence_embedding", "run the evaluation graph");
            let rows = match &on_device {
                Some(on_device) => on_device.run(&mut self.session, inputs, output, action)?,
                None => {
                    parameters.feed(&mut inputs)?;
                    let outputs = self.session.run(inputs).map_err(RuntimeError::call(action))?;
                    let (_, rows) = outputs[output]
                        .try_extract_tensor::<f32>()
                        .map_err(RuntimeError::call("read embeddings"))?;
                    rows.to_vec()
                }
            };
            let rows = ArrayView2::from_shape((chunk.len(), self.config.hidden), &rows)
                .map_err(|_| RuntimeError::Shape(output))?;
            for (row, text) in rows.outer_iter().zip(chunk) {
                embeddings.row_mut(*text).assign(&row.split_at(Axis(0), self.dimension).0);
            }
        }
        Ok(embeddings)
    }

    /// Embeds texts with a model folder's weights.
    ///
    /// # Errors
    /// [`TrainError`] when the folder can't be read or the runtime fails.
    pub fn embed_with<S: AsRef<str>>(
        runtime: &Runtime,
        folder: &ModelFolder,
        texts: &[S],
    ) -> Result<Array2<f32>, TrainError> {
        let tokens = folder.tokenizer()?.encode(texts)?.texts;
        let vocabulary = Vocabulary::of(&tokens);
        let compact: Vec<Vec<u32>> = tokens.iter().filter_map(|text| vocabulary.compact(text)).collect();
        let parameters = ParameterBuffer::load(&folder.config, &folder.weights()?, vocabulary)?;
        Self::of(runtime, folder)?.embed(&parameters, &compact)
    }
}
