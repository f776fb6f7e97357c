//! A model that is asked a run's questions: a folder's, with only the token rows that the questions need.

use ndarray::Array2;

use crate::correction::Templates;
use crate::evaluate::{Rank, model_ranks};
use autovalidate_finetune::model::{ModelFolder, Tokenizer};
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{Encoder, ParameterBuffer, TrainError, Vocabulary};

use crate::run::dataset::Dataset;
use crate::run::error::RunError;

/// Texts to embeddings, with parameters that may be in training.
pub(in crate::run) struct Embedder {
    pub(in crate::run) tokenizer: Tokenizer,
    pub(in crate::run) encoder: Encoder,
}

impl Embedder {
    pub(in crate::run) fn embed(
        &mut self,
        parameters: &ParameterBuffer,
        texts: &[String],
    ) -> Result<Array2<f32>, TrainError> {
        embed(&self.tokenizer, &mut self.encoder, parameters, texts)
    }
}

/// Embeds texts whose tokens the parameters hold.
pub(in crate::run) fn embed(
    tokenizer: &Tokenizer,
    encoder: &mut Encoder,
    parameters: &ParameterBuffer,
    texts: &[String],
) -> Result<Array2<f32>, TrainError> {
    let tokens = tokenizer.encode(texts)?.texts;
    let compact = tokens
        .iter()
        .map(|text| parameters.vocabulary().compact(text).ok_or(TrainError::ForeignToken))
        .collect::<Result<Vec<_>, _>>()?;
    encoder.embed(parameters, &compact)
}

/// A folder's model, ready to be asked texts that are known beforehand.
pub struct Scorer {
    pub(in crate::run) reader: Embedder,
    pub(in crate::run) parameters: ParameterBuffer,
    /// Whether the folder promises embeddings of unit length.
    pub(in crate::run) normalizes: bool,
}

impl Scorer {
    /// Loads what `texts` need of a folder's model.
    ///
    /// # Errors
    /// [`RunError::Model`] when the folder can't be read, [`RunError::Train`] when the runtime refuses its graph.
    pub fn open(runtime: &Runtime, folder: &ModelFolder, texts: &[String]) -> Result<Self, RunError> {
        let tokenizer = folder.tokenizer()?;
        let vocabulary = Vocabulary::of(&tokenizer.encode(texts)?.texts);
        let parameters = ParameterBuffer::load(&folder.config, &folder.weights()?, vocabulary)?;
        let encoder = Encoder::new(runtime, &folder.config, folder.head)?;
        Ok(Self { reader: Embedder { tokenizer, encoder }, parameters, normalizes: folder.head.normalize })
    }

    /// Embeds texts that it was opened for.
    ///
    /// # Errors
    /// [`TrainError`] when the model can't be run, or wasn't opened for one of the texts.
    pub fn embed(&mut self, texts: &[String]) -> Result<Array2<f32>, TrainError> {
        self.reader.embed(&self.parameters, texts)
    }

    /// The ranks of the right names by this model, in the order of the dataset's queries.
    ///
    /// # Errors
    /// [`RunError`] when the model can't be run.
    pub fn ranks(&mut self, dataset: &Dataset, templates: &Templates) -> Result<Vec<Rank>, RunError> {
        Ok(model_ranks(&dataset.queries, &dataset.catalog, templates, |texts| self.embed(texts))?)
    }
}
