//! The comparison of a new model with the live model and the original one, on the same queries.

use std::time::Duration;

use crate::evaluate::{
    Cohorts, GatePolicy, ModelRanks, QuerySet, Report, Sanity, ServingTrials, Speed, query_time, slowdown,
    timed,
};
use crate::templates::Templates;
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;

use crate::run::dataset::{Dataset, KnownRows};
use crate::run::error::RunError;
use crate::run::fine_tune::Scorer;

/// Number of texts that are encoded to compare the speed of two models.
const TIMED_TEXTS: usize = 64;

/// Baselines that a new model is measured against.
#[derive(Debug, Clone)]
pub struct ModelComparison {
    /// The live model, which the new model would replace.
    pub live: ModelFolder,
    /// The original model, from before any training; `None` when that model is not available.
    pub original: Option<ModelFolder>,
}

impl ModelComparison {
    /// Returns the baselines before the first release, when the live model is the original one.
    pub fn untrained(model: ModelFolder) -> Self {
        Self { original: Some(model.clone()), live: model }
    }

    /// Scores all models on the dataset's held-out queries and decides the verdict on the new
    /// model. Checks the new model's embeddings and speed, too. The live model's receipt determines
    /// which queries judged earlier versions.
    ///
    /// # Errors
    /// [`RunError`] when a model can't be read or run.
    pub fn judge(
        &self,
        runtime: &Runtime,
        new: &mut Scorer,
        dataset: &Dataset,
        templates: &Templates,
        policy: &GatePolicy,
    ) -> Result<Report, RunError> {
        let texts: Vec<String> = dataset.texts(templates).collect();
        let mut live = Scorer::open(runtime, &self.live, &texts)?;
        let before = live.ranks(dataset, templates)?;
        let original = match &self.original {
            None => None,
            Some(original) if original.path() == self.live.path() => Some(before.clone()),
            Some(original) => Some(Scorer::open(runtime, original, &texts)?.ranks(dataset, templates)?),
        };
        let mut trials = ServingTrials::new(&dataset.queries, &dataset.catalog, policy.fuzzy);
        let after =
            new.ranks_with(dataset, templates, |query, cosines, right| trials.add(query, cosines, right))?;
        let known = KnownRows::of(self.live.path());
        let cohorts = Cohorts {
            newest_from: dataset.summary.newest_from,
            legacy_until: known.last,
            live_knows_new_names: known.new_names,
        };
        let questions = QuerySet {
            queries: &dataset.queries,
            rows: &dataset.query_rows,
            catalog: &dataset.catalog,
            cohorts,
        };
        let answers = ModelRanks { original: original.as_deref(), before: &before, after: &after };
        let mut report = Report::compare(&questions, &answers, policy);
        report.serving = trials.advice();
        report.sanity = sanity(new, &mut live, &texts, policy)?;
        Ok(report)
    }
}

fn sanity(
    new: &mut Scorer,
    live: &mut Scorer,
    texts: &[String],
    policy: &GatePolicy,
) -> Result<Sanity, RunError> {
    let texts = &texts[..texts.len().min(TIMED_TEXTS)];
    let slowdown = slowdown(
        policy.slowest,
        || timed(|| live.embed(texts).map(drop)),
        || timed(|| new.embed(texts).map(drop)),
    )?;
    // Beyond the other limit only, the budget decides.
    let is_slower = slowdown.is_some_and(|factor| factor > policy.slowest);
    let budget = if is_slower { policy.query_budget() } else { Duration::MAX };
    let query =
        query_time(texts.len(), budget, |query| timed(|| new.embed(&texts[query..=query]).map(drop)))?;
    let embeddings = new.embed(texts)?;
    let speed = Speed { slowdown, query };
    Ok(Sanity::check(embeddings.view(), new.normalizes, speed, policy))
}
