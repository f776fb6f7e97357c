//! A model and a dataset brought together: what the model knew before, training, and what it knows after.
//!
//! Pure computation without a network; the pipeline runs it off the async threads.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::correction::Templates;
use crate::evaluate::{GatePolicy, HoldOut, Query, Report};
use crate::synthesis::{EpochDataset, SlipRates, SynthesisSettings, Synthesizer};
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{
    Checkpoints, Encoder, Observer, ParameterBuffer, Recipe, Resumable, Summary, Vocabulary, fit,
};

use crate::run::dataset::Dataset;
use crate::run::error::RunError;
use crate::run::fine_tune::ModelComparison;
use crate::run::fine_tune::{Embedder, Scorer};
use crate::run::fine_tune::{ValidationSet, split_validation_set};

/// How a model is to learn.
#[derive(Debug, Clone)]
pub struct TrainingSpec {
    /// The settings of the training.
    pub recipe: Recipe,
    /// How many typos are made up beside the real ones, and how.
    pub synthesis: SynthesisSettings,
    /// What must not be made up: the typos that are held out.
    pub hold_out: HoldOut,
    /// What the model sees of a text.
    pub templates: Templates,
}

/// A model ready to learn from a dataset.
pub struct FineTuneSession {
    runtime: Runtime,
    base: ModelFolder,
    recipe: Recipe,
    templates: Templates,
    dataset: Dataset,
    /// Held-out questions that tell when to stop.
    steering: Vec<Query>,
    examples: EpochDataset,
    reader: Embedder,
    parameters: ParameterBuffer,
    /// How much is to be learned.
    pub figures: SessionFigures,
}

/// How much is to be learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFigures {
    /// Rows of the token table that the run's texts use.
    pub vocabulary: usize,
    /// Numbers that are trained.
    pub parameters: usize,
    /// Texts of the evaluation that were longer than the model reads.
    pub texts_cut: usize,
    /// Typos made up for the first epoch.
    #[serde(rename = "synthesised")]
    pub synthesized: usize,
    /// Pairs of the first epoch with fewer hard negatives than the recipe asks for: their domains have no more names.
    #[serde(default)]
    pub short_of_negatives: usize,
    /// Held-out questions that tell when to stop, and therefore don't judge the result.
    #[serde(default)]
    pub steering: usize,
}

impl FineTuneSession {
    /// Draws what is to be learned, and loads the parameters that its texts and the questions need.
    ///
    /// # Errors
    /// [`RunError::Train`] when the model can't be read or run, [`RunError::Synthesis`] for an absurd setting.
    pub fn prepare(
        runtime: &Runtime,
        base: ModelFolder,
        mut dataset: Dataset,
        spec: TrainingSpec,
    ) -> Result<Self, RunError> {
        let TrainingSpec { recipe, synthesis, hold_out, templates } = spec;
        recipe.check()?;
        synthesis.check()?;
        let tokenizer = base.tokenizer()?;
        let rates = match synthesis.learn_rates {
            true => {
                let slips = dataset.slips.iter().map(|(typo, corrected)| (typo.as_str(), corrected.as_str()));
                SlipRates::learn(slips, synthesis.keyboard)
            }
            false => SlipRates::default(),
        };
        let asked = dataset.queries.iter().map(|query| (query.domain.as_str(), query.typo.as_str()));
        let synthesizer =
            Synthesizer::new(dataset.catalog.clone(), rates, synthesis, hold_out).without(asked);
        let examples = EpochDataset::new(dataset.pairs.clone(), synthesizer, templates.clone(), recipe.seed)
            .with_negatives(recipe.hard_negatives);
        let asked = tokenizer.encode(&dataset.texts(&templates))?;
        let taught = examples.token_ids(&tokenizer, recipe.epochs)?;
        let vocabulary = Vocabulary::of(asked.texts.iter().chain([&taught]));
        let parameters = ParameterBuffer::load(&base.config, &base.weights()?, vocabulary)?;
        let steering = split_validation_set(&recipe, &mut dataset);
        let first = examples.epoch(0);
        let short = first.iter().filter(|pair| pair.negatives.len() < recipe.hard_negatives);
        let reader = Embedder { tokenizer, encoder: Encoder::new(runtime, &base.config, base.head)? };
        let figures = SessionFigures {
            vocabulary: parameters.vocabulary().ids().len(),
            parameters: parameters.values().len(),
            texts_cut: asked.cut,
            synthesized: first.len() - dataset.pairs.len(),
            short_of_negatives: short.count(),
            steering: steering.len(),
        };
        let runtime = runtime.clone();
        Ok(Self {
            runtime,
            base,
            recipe,
            templates,
            dataset,
            steering,
            examples,
            reader,
            parameters,
            figures,
        })
    }

    /// Trains. With `checkpoints`, from where an earlier training of the same study was stopped.
    ///
    /// # Errors
    /// [`RunError::Train`].
    pub fn train(
        mut self,
        observer: &mut dyn Observer,
        checkpoints: Option<Checkpoints>,
    ) -> Result<TrainedModel, RunError> {
        let vocabulary = self.parameters.vocabulary().clone();
        let normalizes = self.base.head.normalize;
        let mut resumable;
        let observer: &mut dyn Observer = match checkpoints {
            Some(checkpoints) => {
                resumable = Resumable { observer, checkpoints };
                &mut resumable
            }
            None => observer,
        };
        let Embedder { tokenizer, encoder } = &mut self.reader;
        let mut steering = ValidationSet {
            observer,
            rule: self.recipe.early_stop,
            scale: self.recipe.scale,
            questions: &self.steering,
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
            &mut steering,
        )?;
        Ok(TrainedModel {
            runtime: self.runtime,
            base: self.base,
            templates: self.templates,
            dataset: self.dataset,
            model: Scorer { reader: self.reader, parameters: fit.parameters, normalizes },
            decay_factor: fit.decay_factor,
            summary: fit.summary,
            figures: self.figures,
        })
    }
}

/// A model after training.
pub struct TrainedModel {
    runtime: Runtime,
    base: ModelFolder,
    templates: Templates,
    dataset: Dataset,
    model: Scorer,
    decay_factor: f64,
    /// What training did.
    pub summary: Summary,
    /// How much there was to learn.
    pub figures: SessionFigures,
}

impl TrainedModel {
    /// Asks the trained model and its baselines what is held out, and judges it.
    ///
    /// # Errors
    /// [`RunError::Train`] when a model can't be run, [`RunError::Model`] when a baseline can't be read.
    pub fn evaluate(&mut self, policy: &GatePolicy, baselines: &ModelComparison) -> Result<Report, RunError> {
        baselines.judge(&self.runtime, &mut self.model, &self.dataset, &self.templates, policy)
    }

    /// Writes the trained model as a folder.
    ///
    /// # Errors
    /// [`RunError::Train`] when it can't be written.
    pub fn export(&self, to: &std::path::Path) -> Result<(), RunError> {
        Ok(autovalidate_finetune::train::export(&self.base, &self.model.parameters, self.decay_factor, to)?)
    }

    /// Some of the texts the run was judged by, to compare the exported model with.
    pub fn sample_texts(&self, count: usize) -> Vec<String> {
        let queries = self.dataset.queries.iter();
        let mut texts: Vec<String> =
            queries.take(count).map(|query| self.templates.render(&query.domain, &query.typo)).collect();
        texts.extend(self.dataset.pairs.iter().take(count - texts.len()).map(|pair| pair.anchor.clone()));
        texts
    }

    /// Embeds texts of this run with the trained parameters.
    ///
    /// # Errors
    /// [`RunError::Train`] when the model can't be run.
    pub fn embed(&mut self, texts: &[String]) -> Result<Array2<f32>, RunError> {
        Ok(self.model.embed(texts)?)
    }
}
