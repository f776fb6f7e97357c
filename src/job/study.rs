//! A model and a dataset brought together: what the model knew before, training, and what it knows after.
//!
//! Pure computation without a network; the pipeline runs it off the async threads.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::correction::Templates;
use crate::evaluate::{HoldOut, Policy, Query, Rank, Report, model_ranks};
use crate::model::{ModelFolder, Tokenizer};
use crate::onnx::Runtime;
use crate::synthesis::{Lessons, SlipRates, SynthesisSettings, Synthesiser};
use crate::train::{
    Checkpoints, Encoder, Observer, ParameterBuffer, Recipe, Resumable, Summary, TrainError, Vocabulary, fit,
};

use super::steering::{Steering, set_apart};
use super::{Dataset, JobError};

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
    before: Vec<Rank>,
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
    /// Held-out questions that tell when to stop, and therefore don't judge the result.
    #[serde(default)]
    pub steering: usize,
}

/// Texts to embeddings with parameters in training.
struct Reader {
    tokenizer: Tokenizer,
    encoder: Encoder,
}

impl Reader {
    fn embed(&mut self, parameters: &ParameterBuffer, texts: &[String]) -> Result<Array2<f32>, TrainError> {
        embed(&self.tokenizer, &mut self.encoder, parameters, texts)
    }
}

/// Embeds texts with parameters in training.
pub(super) fn embed(
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

impl Study {
    /// Draws what is to be learned, loads the parameters that its texts need, and asks the model all questions once.
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
        let synthesiser = Synthesiser::new(dataset.catalogue.clone(), rates, synthesis, hold_out);
        let lessons = Lessons::new(dataset.pairs.clone(), synthesiser, templates.clone(), recipe.seed);
        let asked = tokenizer.encode(&dataset.texts(&templates))?;
        let taught = lessons.token_ids(&tokenizer, recipe.epochs)?;
        let vocabulary = Vocabulary::of(asked.texts.iter().chain([&taught]));
        let parameters = ParameterBuffer::load(&base.config, &base.weights()?, vocabulary)?;
        let mut reader = Reader { tokenizer, encoder: Encoder::new(runtime, &base.config, base.head)? };
        let steering = set_apart(&recipe, &mut dataset.queries);
        let before = ranks(&dataset, &templates, &mut reader, &parameters)?;
        let figures = StudyFigures {
            vocabulary: parameters.vocabulary().ids().len(),
            parameters: parameters.values().len(),
            texts_cut: asked.cut,
            synthesised: lessons.epoch(0).len() - dataset.pairs.len(),
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
            lessons,
            reader,
            parameters,
            before,
            figures,
        })
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
            base: self.base,
            templates: self.templates,
            dataset: self.dataset,
            reader: self.reader,
            before: self.before,
            parameters: fit.parameters,
            kept: fit.kept,
            summary: fit.summary,
            figures: self.figures,
        })
    }
}

/// A model after training.
pub struct Trained {
    base: ModelFolder,
    templates: Templates,
    dataset: Dataset,
    reader: Reader,
    before: Vec<Rank>,
    parameters: ParameterBuffer,
    kept: f64,
    /// What training did.
    pub summary: Summary,
    /// How much there was to learn.
    pub figures: StudyFigures,
}

impl Trained {
    /// Asks the trained model the same questions and compares.
    ///
    /// # Errors
    /// [`JobError::Train`] when the model can't be run.
    pub fn evaluate(&mut self, policy: &Policy) -> Result<Report, JobError> {
        let after = ranks(&self.dataset, &self.templates, &mut self.reader, &self.parameters)?;
        Ok(Report::new(&self.dataset.queries, &self.dataset.catalogue, &self.before, &after, policy))
    }

    /// Writes the trained model as a folder.
    ///
    /// # Errors
    /// [`JobError::Train`] when it can't be written.
    pub fn export(&self, to: &std::path::Path) -> Result<(), JobError> {
        Ok(crate::train::export(&self.base, &self.parameters, self.kept, to)?)
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
        Ok(self.reader.embed(&self.parameters, texts)?)
    }
}

fn ranks(
    dataset: &Dataset,
    templates: &Templates,
    reader: &mut Reader,
    parameters: &ParameterBuffer,
) -> Result<Vec<Rank>, JobError> {
    Ok(model_ranks(&dataset.queries, &dataset.catalogue, templates, |texts| reader.embed(parameters, texts))?)
}
