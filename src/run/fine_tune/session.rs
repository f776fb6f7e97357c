//! The fine-tuning session of a run: prepares the training data and parameters, trains, and exports
//! the model.
//!
//! Blocks and never uses the network; the pipeline runs it off the async threads.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::evaluate::{GatePolicy, HoldOut, Query, Report, Side};
use crate::synthesis::{EpochDataset, SynthesisSettings, Synthesizer};
use crate::templates::Templates;
use autovalidate_finetune::model::{ModelFolder, TokenizerChoice};
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{
    Checkpoints, Encoder, Observer, ParameterBuffer, Recipe, Resumable, Summary, Vocabulary, fit, token_ids,
};

use crate::run::dataset::Dataset;
use crate::run::error::RunError;
use crate::run::fine_tune::{
    Embedder, ModelComparison, NameCoverage, Scorer, ValidationSet, split_validation_set,
};

/// Number of training pairs that the rates of slips are learned from: far more than the rates need.
const MOST_SLIPS: usize = 200_000;
/// Largest number of texts of training pairs that are kept for a comparison with the exported model.
const SAMPLES: usize = 200;

/// Settings that decide how a model is trained.
#[derive(Debug, Clone)]
pub struct TrainingSpec {
    /// Tokens to train on.
    pub tokenizer: TokenizerChoice,
    /// Training recipe.
    pub recipe: Recipe,
    /// Settings of the synthetic typos.
    pub synthesis: SynthesisSettings,
    /// Shares of pairs that are held out; a held-out typo must not occur as a synthetic typo.
    pub hold_out: HoldOut,
    /// Templates that render a text as model input.
    pub templates: Templates,
}

/// A model and a dataset, ready to train.
pub struct FineTuneSession {
    runtime: Runtime,
    base: ModelFolder,
    recipe: Recipe,
    templates: Templates,
    dataset: Dataset,
    /// Held-out queries that decide an early stop.
    validation: Vec<Query>,
    examples: EpochDataset,
    /// Texts of training pairs, for a comparison with the exported model.
    samples: Vec<String>,
    embedder: Embedder,
    parameters: ParameterBuffer,
    /// Figures of the prepared training data.
    pub figures: SessionFigures,
}

/// Figures of the prepared training data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFigures {
    /// Number of rows of the token table that the run's texts use.
    pub vocabulary: usize,
    /// Number of values that are trained.
    pub parameters: usize,
    /// Number of evaluation texts that were truncated to the model's maximum length.
    pub texts_cut: usize,
    /// Number of synthetic typos in the first epoch.
    #[serde(rename = "synthesised")]
    pub synthesized: usize,
    /// Number of real pairs in each epoch, where the largest number of steps leaves some out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled_pairs: Option<usize>,
    /// Number of real pairs that teach no rate of a slip, because the typo is another word
    /// altogether.
    #[serde(default)]
    pub other_words: usize,
    /// Number of pairs in the first epoch with fewer hard negatives than the recipe asks for,
    /// because their domains have no more names.
    #[serde(default)]
    pub short_of_negatives: usize,
    /// Number of held-out queries in the validation set. They decide an early stop, and the gate
    /// doesn't use them.
    #[serde(default)]
    pub steering: usize,
    /// Coverage of the names by the model's tokenizer.
    #[serde(default)]
    pub name_coverage: NameCoverage,
}

impl FineTuneSession {
    /// Draws the training data, and loads the parameters that its texts and the held-out queries
    /// use. Ends early when `goes_on` returns false.
    ///
    /// # Errors
    /// [`RunError::Model`] when the model folder can't be read, [`RunError::Train`] when the model
    /// can't be run, the recipe is invalid, or `goes_on` ended it, [`RunError::Synthesis`] when a
    /// setting of the synthetic typos is out of range.
    pub fn prepare(
        runtime: &Runtime,
        base: ModelFolder,
        mut dataset: Dataset,
        spec: TrainingSpec,
        goes_on: impl Fn() -> bool,
    ) -> Result<Self, RunError> {
        let TrainingSpec { tokenizer, recipe, synthesis, hold_out, templates } = spec;
        recipe.check()?;
        synthesis.check()?;
        let base = tokenizer.applied_to(base, templates.phrases());
        let tokenizer = base.tokenizer()?;
        let limit = synthesis.epoch_limit(recipe.epochs, recipe.batch_size);
        let rates = synthesis.rates(dataset.pairs.slips(MOST_SLIPS).iter());
        let other_words = rates.other_words;
        let name_coverage = NameCoverage::of(&dataset, &tokenizer, &templates)?;
        for warning in name_coverage.warnings() {
            tracing::warn!("{warning}");
        }
        let pairs = std::mem::take(&mut dataset.pairs);
        let queries = dataset.queries.iter().map(|query| (query.domain.as_str(), query.typo.as_str()));
        let new_names = dataset.queries.iter().filter(|query| query.side == Side::NewName);
        let new_names = new_names.map(|query| (query.domain.as_str(), query.corrected.as_str()));
        let synthesizer = Synthesizer::new(dataset.catalog.clone(), rates, synthesis, hold_out)
            .without(queries)
            .without_names(new_names);
        let (seed, epochs) = (recipe.seed, recipe.epochs);
        let examples = EpochDataset::limited(&pairs, synthesizer, templates.clone(), seed, limit, epochs)
            .with_negatives(recipe.hard_negatives);
        // A million rows are not in memory while the model is trained.
        drop(pairs);
        let (evaluated, texts_cut) = token_ids(dataset.texts(&templates), &tokenizer, &goes_on)?;
        let trained = examples.token_ids(&tokenizer, recipe.epochs, &goes_on)?;
        let vocabulary = Vocabulary::of([&evaluated, &trained]);
        let parameters = ParameterBuffer::load(&base.config, &base.weights()?, vocabulary)?;
        let validation = split_validation_set(&recipe, &mut dataset);
        let first = examples.epoch(0);
        let short = first.iter().filter(|pair| pair.negatives.len() < recipe.hard_negatives);
        let sampled_pairs = examples.sampled();
        let samples = first.iter().take(SAMPLES).map(|pair| pair.anchor.clone()).collect();
        let embedder = Embedder { tokenizer, encoder: Encoder::of(runtime, &base)? };
        let figures = SessionFigures {
            vocabulary: parameters.vocabulary().ids().len(),
            parameters: parameters.values().len(),
            texts_cut,
            synthesized: first.len() - examples.real_pairs(),
            sampled_pairs,
            other_words,
            short_of_negatives: short.count(),
            steering: validation.len(),
            name_coverage,
        };
        let runtime = runtime.clone();
        Ok(Self {
            runtime,
            base,
            recipe,
            templates,
            dataset,
            validation,
            examples,
            samples,
            embedder,
            parameters,
            figures,
        })
    }

    /// Trains the model. With `checkpoints`, continues from where an earlier training of the same
    /// run was stopped.
    ///
    /// # Errors
    /// [`RunError::Train`].
    pub fn train(
        mut self,
        observer: &mut dyn Observer,
        checkpoints: Option<Checkpoints>,
    ) -> Result<TrainedModel, RunError> {
        let vocabulary = self.parameters.vocabulary().clone();
        let normalizes = self.base.has_unit_length();
        let mut resumable;
        let observer: &mut dyn Observer = match checkpoints {
            Some(checkpoints) => {
                resumable = Resumable { observer, checkpoints };
                &mut resumable
            }
            None => observer,
        };
        let Embedder { tokenizer, encoder } = &mut self.embedder;
        let mut validation = ValidationSet {
            observer,
            early_stop: self.recipe.early_stop,
            scale: self.recipe.scale,
            queries: &self.validation,
            catalog: &self.dataset.catalog,
            templates: &self.templates,
            tokenizer,
            encoder,
        };
        let fit = fit(
            &self.runtime,
            &self.base.config,
            self.base.head,
            &self.recipe,
            self.parameters,
            &self.examples.tokenized(tokenizer, &vocabulary),
            &mut validation,
        )?;
        Ok(TrainedModel {
            runtime: self.runtime,
            base: self.base,
            templates: self.templates,
            dataset: self.dataset,
            samples: self.samples,
            model: Scorer { embedder: self.embedder, parameters: fit.parameters, normalizes },
            decay_factor: fit.decay_factor,
            summary: fit.summary,
            figures: self.figures,
        })
    }
}

/// A trained model, with the data it is evaluated on.
pub struct TrainedModel {
    runtime: Runtime,
    base: ModelFolder,
    templates: Templates,
    dataset: Dataset,
    samples: Vec<String>,
    model: Scorer,
    decay_factor: f64,
    /// Summary of the training.
    pub summary: Summary,
    /// Figures of the prepared training data.
    pub figures: SessionFigures,
}

impl TrainedModel {
    /// Scores the trained model and its baselines on the held-out queries, and decides the verdict.
    ///
    /// # Errors
    /// [`RunError::Train`] when a model can't be run, [`RunError::Model`] when a baseline can't be
    /// read.
    pub fn evaluate(&mut self, policy: &GatePolicy, baselines: &ModelComparison) -> Result<Report, RunError> {
        baselines.judge(&self.runtime, &mut self.model, &self.dataset, &self.templates, policy)
    }

    /// Writes the trained model as a sentence-transformers folder.
    ///
    /// # Errors
    /// [`RunError::Train`] when the folder can't be written.
    pub fn export(&self, to: &std::path::Path) -> Result<(), RunError> {
        Ok(autovalidate_finetune::train::export(&self.base, &self.model.parameters, self.decay_factor, to)?)
    }

    /// Returns up to `count` texts of the run, for a comparison with the exported model.
    pub fn sample_texts(&self, count: usize) -> Vec<String> {
        let queries = self.dataset.queries.iter();
        let mut texts: Vec<String> =
            queries.take(count).map(|query| self.templates.render(&query.domain, &query.typo)).collect();
        texts.extend(self.samples.iter().take(count - texts.len()).cloned());
        texts
    }

    /// Returns the token ids of texts, as the model was trained on them.
    ///
    /// # Errors
    /// [`RunError::Model`] when the tokenizer refuses a text.
    pub fn token_ids(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, RunError> {
        Ok(self.model.embedder.tokenizer.encode(texts)?.texts)
    }

    /// Embeds texts of this run with the trained parameters.
    ///
    /// # Errors
    /// [`RunError::Train`] when the model can't be run.
    pub fn embed(&mut self, texts: &[String]) -> Result<Array2<f32>, RunError> {
        Ok(self.model.embed(texts)?)
    }
}
