//! A model and a dataset brought together: what the model knew before, training, and what it knows after.
//!
//! Pure computation without a network; the pipeline runs it off the async threads.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::correction::Templates;
use crate::evaluate::{HoldOut, Policy, Query, Report};
use crate::synthesis::{Lessons, SlipRates, SynthesisSettings, Synthesiser};
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{
    Checkpoints, Encoder, Observer, ParameterBuffer, Recipe, Resumable, Summary, Vocabulary, fit,
};

use crate::run::dataset::Dataset;
use crate::run::error::JobError;
use crate::run::fine_tune::Baselines;
use crate::run::fine_tune::{Examinee, Reader};
use crate::run::fine_tune::{Steering, set_apart};

/// How a model is to learn.
#[derive(Debug, Clone)]
pub struct Lecture {
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
pub struct Study {
    runtime: Runtime,
    base: ModelFolder,
    recipe: Recipe,
    templates: Templates,
    dataset: Dataset,
    /// Held-out questions that tell when to stop.
    steering: Vec<Query>,
    lessons: Lessons,
    reader: Reader,
    parameters: ParameterBuffer,
    /// How much is to be learned.
    pub figures: StudyFigures,
}

/// How much is to be learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyFigures {
    /// Rows of the token table that the run's texts use.
    pub vocabulary: usize,
    /// Numbers that are trained.
    pub parameters: usize,
    /// Texts of the evaluation that were longer than the model reads.
    pub texts_cut: usize,
    /// Typos made up for the first epoch.
    pub synthesised: usize,
    /// Pairs of the first epoch with fewer hard negatives than the recipe asks for: their domains have no more names.
    #[serde(default)]
    pub short_of_negatives: usize,
    /// Held-out questions that tell when to stop, and therefore don't judge the result.
    #[serde(default)]
    pub steering: usize,
}

impl Study {
    /// Draws what is to be learned, and loads the parameters that its texts and the questions need.
    ///
    /// # Errors
    /// [`JobError::Train`] when the model can't be read or run, [`JobError::Synthesis`] for an absurd setting.
    pub fn prepare(
        runtime: &Runtime,
        base: ModelFolder,
        mut dataset: Dataset,
        lecture: Lecture,
    ) -> Result<Self, JobError> {
        let Lecture { recipe, synthesis, hold_out, templates } = lecture;
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
        let synthesiser =
            Synthesiser::new(dataset.catalogue.clone(), rates, synthesis, hold_out).without(asked);
        let lessons = Lessons::new(dataset.pairs.clone(), synthesiser, templates.clone(), recipe.seed)
            .with_negatives(recipe.hard_negatives);
        let asked = tokenizer.encode(&dataset.texts(&templates))?;
        let taught = lessons.token_ids(&tokenizer, recipe.epochs)?;
        let vocabulary = Vocabulary::of(asked.texts.iter().chain([&taught]));
        let parameters = ParameterBuffer::load(&base.config, &base.weights()?, vocabulary)?;
        let steering = set_apart(&recipe, &mut dataset);
        let first = lessons.epoch(0);
        let short = first.iter().filter(|pair| pair.negatives.len() < recipe.hard_negatives);
        let reader = Reader { tokenizer, encoder: Encoder::new(runtime, &base.config, base.head)? };
        let figures = StudyFigures {
            vocabulary: parameters.vocabulary().ids().len(),
            parameters: parameters.values().len(),
            texts_cut: asked.cut,
            synthesised: first.len() - dataset.pairs.len(),
            short_of_negatives: short.count(),
            steering: steering.len(),
        };
        let runtime = runtime.clone();
        Ok(Self { runtime, base, recipe, templates, dataset, steering, lessons, reader, parameters, figures })
    }

    /// Trains. With `checkpoints`, from where an earlier training of the same study was stopped.
    ///
    /// # Errors
    /// [`JobError::Train`].
    pub fn train(
        mut self,
        observer: &mut dyn Observer,
        checkpoints: Option<Checkpoints>,
    ) -> Result<Trained, JobError> {
        let vocabulary = self.parameters.vocabulary().clone();
        let normalises = self.base.head.normalise;
        let mut resumable;
        let observer: &mut dyn Observer = match checkpoints {
            Some(checkpoints) => {
                resumable = Resumable { observer, checkpoints };
                &mut resumable
            }
            None => observer,
        };
        let Reader { tokenizer, encoder } = &mut self.reader;
        let mut steering = Steering {
            observer,
            rule: self.recipe.early_stop,
            scale: self.recipe.scale,
            questions: &self.steering,
            catalogue: &self.dataset.catalogue,
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
            &self.lessons.tokenised(tokenizer, &vocabulary),
            &mut steering,
        )?;
        Ok(Trained {
            runtime: self.runtime,
            base: self.base,
            templates: self.templates,
            dataset: self.dataset,
            model: Examinee { reader: self.reader, parameters: fit.parameters, normalises },
            kept: fit.kept,
            summary: fit.summary,
            figures: self.figures,
        })
    }
}

/// A model after training.
pub struct Trained {
    runtime: Runtime,
    base: ModelFolder,
    templates: Templates,
    dataset: Dataset,
    model: Examinee,
    kept: f64,
    /// What training did.
    pub summary: Summary,
    /// How much there was to learn.
    pub figures: StudyFigures,
}

impl Trained {
    /// Asks the trained model and its baselines what is held out, and judges it.
    ///
    /// # Errors
    /// [`JobError::Train`] when a model can't be run, [`JobError::Model`] when a baseline can't be read.
    pub fn evaluate(&mut self, policy: &Policy, baselines: &Baselines) -> Result<Report, JobError> {
        baselines.judge(&self.runtime, &mut self.model, &self.dataset, &self.templates, policy)
    }

    /// Writes the trained model as a folder.
    ///
    /// # Errors
    /// [`JobError::Train`] when it can't be written.
    pub fn export(&self, to: &std::path::Path) -> Result<(), JobError> {
        Ok(autovalidate_finetune::train::export(&self.base, &self.model.parameters, self.kept, to)?)
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
    /// [`JobError::Train`] when the model can't be run.
    pub fn embed(&mut self, texts: &[String]) -> Result<Array2<f32>, JobError> {
        Ok(self.model.embed(texts)?)
    }
}
