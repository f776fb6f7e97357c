//! A new model beside the one it would replace and the original one, on the same questions.

use crate::correction::Templates;
use crate::evaluate::{Answers, Cohorts, Policy, Questions, Report, Sanity, slowdown};
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;

use crate::run::dataset::Dataset;
use crate::run::error::JobError;
use crate::run::fine_tune::Examinee;
use crate::run::provenance::last_row;

/// Texts that are encoded to compare two models' speed.
const TIMED_TEXTS: usize = 64;

/// The models a new one is measured beside.
#[derive(Debug, Clone)]
pub struct Baselines {
    /// The model that it would replace.
    pub live: ModelFolder,
    /// The model from before any training, if it is at hand.
    pub original: Option<ModelFolder>,
}

impl Baselines {
    /// Before the first release, what is live is the original model.
    pub fn untrained(model: ModelFolder) -> Self {
        Self { original: Some(model.clone()), live: model }
    }

    /// Asks all models the questions of a dataset and judges the new one; looks at its embeddings and its speed too.
    /// What earlier versions were judged by follows from the live model's receipt.
    ///
    /// # Errors
    /// [`JobError`] when a model can't be read or run.
    pub fn judge(
        &self,
        runtime: &Runtime,
        new: &mut Examinee,
        dataset: &Dataset,
        templates: &Templates,
        policy: &Policy,
    ) -> Result<Report, JobError> {
        let texts = dataset.texts(templates);
        let mut live = Examinee::open(runtime, &self.live, &texts)?;
        let before = live.ranks(dataset, templates)?;
        let original = match &self.original {
            None => None,
            Some(original) if original.path() == self.live.path() => Some(before.clone()),
            Some(original) => Some(Examinee::open(runtime, original, &texts)?.ranks(dataset, templates)?),
        };
        let after = new.ranks(dataset, templates)?;
        let cohorts =
            Cohorts { newest_from: dataset.summary.newest_from, legacy_until: last_row(self.live.path()) };
        let questions = Questions {
            queries: &dataset.queries,
            rows: &dataset.query_rows,
            catalogue: &dataset.catalogue,
            cohorts,
        };
        let answers = Answers { original: original.as_deref(), before: &before, after: &after };
        let mut report = Report::compare(&questions, &answers, policy);
        report.sanity = sanity(new, &mut live, &texts, policy)?;
        Ok(report)
    }
}

fn sanity(
    new: &mut Examinee,
    live: &mut Examinee,
    texts: &[String],
    policy: &Policy,
) -> Result<Sanity, JobError> {
    let timed = &texts[..texts.len().min(TIMED_TEXTS)];
    let slowdown = slowdown(policy.slowest, || live.embed(timed).map(drop), || new.embed(timed).map(drop))?;
    let embeddings = new.embed(texts)?;
    Ok(Sanity::check(embeddings.view(), new.normalises, slowdown, policy.slowest))
}
