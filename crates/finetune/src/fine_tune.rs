//! The crate's entry point: a model folder and pairs of texts in, a fine-tuned folder out.

use std::path::Path;

use crate::Error;
use crate::model::ModelFolder;
use crate::onnx::Runtime;
use crate::train::{Observer, Pairs, ParameterBuffer, Recipe, Summary, TrainError, Vocabulary, export, fit};

/// A fine-tuned model, in memory.
pub struct FineTuned {
    base: ModelFolder,
    parameters: ParameterBuffer,
    decay_factor: f64,
    /// Steps, losses and duration of the training.
    pub summary: Summary,
    /// Number of texts that were truncated to the model's longest input.
    pub texts_cut: usize,
}

/// Fine-tunes the model of a folder on pairs of an anchor and its positive.
///
/// Pass the texts as the model will see them in use, with prompts or templates filled in.
///
/// The loss is MultipleNegativesRankingLoss (Henderson et al. 2017,
/// <https://arxiv.org/abs/1705.00652>): each anchor must find its own positive among all positives
/// of its batch. `observer` is called after each step; a closure that returns `false` stops the
/// training. The call blocks until training ends.
///
/// # Errors
/// [`Error::Model`] for a folder that can't be read or trained. [`Error::Train`] for a recipe
/// outside its ranges, fewer than two different positives, a loss that is not finite, a call that
/// ONNX Runtime refuses, or an observer that stopped the training.
pub fn fine_tune<A: AsRef<str>, P: AsRef<str>>(
    runtime: &Runtime,
    base: &ModelFolder,
    pairs: &[(A, P)],
    recipe: &Recipe,
    observer: &mut dyn Observer,
) -> Result<FineTuned, Error> {
    let tokenizer = base.tokenizer()?;
    let (anchors, positives): (Vec<&str>, Vec<&str>) =
        pairs.iter().map(|(anchor, positive)| (anchor.as_ref(), positive.as_ref())).unzip();
    let (anchors, positives) = (tokenizer.encode(&anchors)?, tokenizer.encode(&positives)?);
    // Only the rows of the token table that these texts use are loaded and trained.
    let vocabulary = Vocabulary::of(anchors.texts.iter().chain(&positives.texts));
    let rows = (0..).take(pairs.len()).collect();
    let pairs =
        Pairs::new(rows, &anchors.texts, &positives.texts, &vocabulary).ok_or(TrainError::ForeignToken)?;
    let parameters = ParameterBuffer::load(&base.config, &base.weights()?, vocabulary)?;
    let fit = fit(runtime, &base.config, base.head, recipe, parameters, &pairs, observer)?;
    Ok(FineTuned {
        base: base.clone(),
        parameters: fit.parameters,
        decay_factor: fit.decay_factor,
        summary: fit.summary,
        texts_cut: anchors.cut + positives.cut,
    })
}

impl FineTuned {
    /// Writes the model as a folder that `SentenceTransformer(path)` loads, with `onnx/model.onnx`
    /// inside. `to` must exist and be empty.
    ///
    /// # Errors
    /// [`Error::Model`] when a file can't be read or written.
    pub fn save(&self, to: &Path) -> Result<(), Error> {
        Ok(export(&self.base, &self.parameters, self.decay_factor, to)?)
    }
}
