//! Models that are scored on a run's queries. A model is loaded with only the rows of its token
//! table that the queries use.

use ndarray::{Array2, ArrayView1};

use crate::evaluate::{Rank, model_ranks_with};
use crate::templates::Templates;
use autovalidate_finetune::model::{ModelFolder, Tokenizer};
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{Encoder, ParameterBuffer, TrainError, Vocabulary};

use crate::run::dataset::Dataset;
use crate::run::error::RunError;

/// Tokenizer and encoder of a model. Embeds texts with separate parameters, which may still be in
/// training.
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

/// Embeds texts. The vocabulary of the parameters must contain every token of the texts.
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

/// A model loaded from a folder, ready to embed texts that are known in advance.
pub struct Scorer {
    pub(in crate::run) embedder: Embedder,
    pub(in crate::run) parameters: ParameterBuffer,
    /// True when the model's folder declares embeddings of unit length.
    pub(in crate::run) normalizes: bool,
}

impl Scorer {
    /// Loads the model of a folder, with the rows of its token table that `texts` use.
    ///
    /// # Errors
    /// [`RunError::Model`] when the folder can't be read, [`RunError::Train`] when the runtime
    /// rejects its graph.
    pub fn open(runtime: &Runtime, folder: &ModelFolder, texts: &[String]) -> Result<Self, RunError> {
        let tokenizer = folder.tokenizer()?;
        let vocabulary = Vocabulary::of(&tokenizer.encode(texts)?.texts);
        let parameters = ParameterBuffer::load(&folder.config, &folder.weights()?, vocabulary)?;
        let encoder = Encoder::of(runtime, folder)?;
        Ok(Self {
            embedder: Embedder { tokenizer, encoder },
            parameters,
            normalizes: folder.has_unit_length(),
        })
    }

    /// Embeds texts that are among those the model was opened with.
    ///
    /// # Errors
    /// [`TrainError`] when the model can't be run, or when a text has a token that the model was
    /// not opened with.
    pub fn embed(&mut self, texts: &[String]) -> Result<Array2<f32>, TrainError> {
        self.embedder.embed(&self.parameters, texts)
    }

    /// Returns the rank of the right name for each query, in the order of the dataset's queries.
    ///
    /// # Errors
    /// [`RunError`] when the model can't be run.
    pub fn ranks(&mut self, dataset: &Dataset, templates: &Templates) -> Result<Vec<Rank>, RunError> {
        self.ranks_with(dataset, templates, |_, _, _| {})
    }

    /// Returns what [`ranks`](Self::ranks) returns, and calls `visit` as
    /// [`model_ranks_with`] does.
    pub(in crate::run) fn ranks_with(
        &mut self,
        dataset: &Dataset,
        templates: &Templates,
        visit: impl FnMut(usize, ArrayView1<'_, f32>, usize),
    ) -> Result<Vec<Rank>, RunError> {
        let encode = |texts: &[String]| self.embed(texts);
        Ok(model_ranks_with(&dataset.queries, &dataset.catalog, templates, encode, visit)?)
    }
}
