//! A model and a dataset brought together: what the model knew before, training, and what it knows after.
//!
//! Pure computation without a network; the pipeline runs it off the async threads.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::correction::Templates;
use crate::evaluate::{Policy, Rank, Report, model_ranks};
use crate::model::{ModelFolder, Tokenizer};
use crate::onnx::Runtime;
use crate::train::{Encoder, Observer, Pairs, ParameterBuffer, Recipe, Summary, TrainError, Vocabulary, fit};

use super::{Dataset, JobError};

/// A model ready to learn from a dataset.
pub struct Study {
    runtime: Runtime,
    base: ModelFolder,
    templates: Templates,
    dataset: Dataset,
    reader: Reader,
    parameters: ParameterBuffer,
    pairs: Pairs,
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
    /// Texts that were longer than the model reads.
    pub texts_cut: usize,
}

/// Texts to embeddings with parameters in training.
struct Reader {
    tokenizer: Tokenizer,
    encoder: Encoder,
}

impl Reader {
    fn embed(&mut self, parameters: &ParameterBuffer, texts: &[String]) -> Result<Array2<f32>, TrainError> {
        let tokens = self.tokenizer.encode(texts)?.texts;
        let compact = tokens
            .iter()
            .map(|text| parameters.vocabulary().compact(text).ok_or(TrainError::ForeignToken))
            .collect::<Result<Vec<_>, _>>()?;
        self.encoder.embed(parameters, &compact)
    }
}

impl Study {
    /// Tokenises everything, loads the parameters the texts need, and asks the model all questions once.
    ///
    /// # Errors
    /// [`JobError::Train`] when the model can't be read or run.
    pub fn prepare(
        runtime: &Runtime,
        base: ModelFolder,
        dataset: Dataset,
        templates: &Templates,
    ) -> Result<Self, JobError> {
        let tokenizer = base.tokenizer().map_err(TrainError::from)?;
        let all = tokenizer.encode(&dataset.texts(templates)).map_err(TrainError::from)?;
        let vocabulary = Vocabulary::of(&all.texts);
        // `texts` starts with the pairs, anchor and positive in turn.
        let sides = &all.texts[..2 * dataset.pairs.len()];
        let anchors: Vec<Vec<u32>> = sides.iter().step_by(2).cloned().collect();
        let positives: Vec<Vec<u32>> = sides.iter().skip(1).step_by(2).cloned().collect();
        let rows = dataset.pairs.iter().map(|pair| pair.row).collect();
        let pairs = Pairs::new(rows, &anchors, &positives, &vocabulary).ok_or(TrainError::ForeignToken)?;
        let weights = base.weights().map_err(TrainError::from)?;
        let parameters =
            ParameterBuffer::load(&base.config, &weights, vocabulary).map_err(TrainError::from)?;
        let mut reader = Reader { tokenizer, encoder: Encoder::new(runtime, &base.config, base.head)? };
        let before = ranks(&dataset, templates, &mut reader, &parameters)?;
        let figures = StudyFigures {
            vocabulary: parameters.vocabulary().ids().len(),
            parameters: parameters.values().len(),
            texts_cut: all.cut,
        };
        let (runtime, templates) = (runtime.clone(), templates.clone());
        Ok(Self { runtime, base, templates, dataset, reader, parameters, pairs, before, figures })
    }

    /// Trains.
    ///
    /// # Errors
    /// [`JobError::Train`].
    pub fn train(self, recipe: &Recipe, observer: &mut dyn Observer) -> Result<Trained, JobError> {
        let fit = fit(
            &self.runtime,
            &self.base.config,
            self.base.head,
            recipe,
            self.parameters,
            &self.pairs,
            observer,
        )?;
        Ok(Trained {
            base: self.base,
            templates: self.templates,
            dataset: self.dataset,
            reader: self.reader,
            before: self.before,
            parameters: fit.parameters,
            kept: fit.moments.kept,
            summary: fit.summary,
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
        crate::train::export(&self.base, &self.parameters, self.kept, to).map_err(TrainError::from)?;
        Ok(())
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
