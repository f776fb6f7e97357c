//! Early stop in a run: which held-out questions steer it, and how good a model in training is at them.
//!
//! What is_validation must not judge: of many assessed models the best is chosen, so on these questions it looks better than
//! it is. Half of the held-out questions are set apart for it, and the gate sees the other half.

use ndarray::{Array2, Axis};

use crate::correction::Templates;
use crate::evaluate::{Catalog, EvaluateError, Query, Scores, held_out_loss, is_validation, model_ranks};
use autovalidate_finetune::model::Tokenizer;
use autovalidate_finetune::train::{
    Checkpoints, EarlyStop, Encoder, Metric, Observer, ParameterBuffer, Progress, Recipe, TrainError,
};

use crate::run::dataset::Dataset;
use crate::run::fine_tune::embed;

/// Fewer questions say more about chance than about a model.
const FEWEST: usize = 10;

/// Takes the questions that steer a run of this recipe out of those of the dataset; none when it has no early stop, or
/// when there are too few of them.
pub(in crate::run) fn split_validation_set(recipe: &Recipe, dataset: &mut Dataset) -> Vec<Query> {
    if recipe.early_stop.is_none() {
        return Vec::new();
    }
    let steering = dataset.queries.iter().filter(|query| is_validation(&query.typo)).count();
    if steering < FEWEST || steering == dataset.queries.len() {
        tracing::warn!(questions = steering, "too few held-out questions: the run won't stop early");
        return Vec::new();
    }
    dataset.take_queries(|query| is_validation(&query.typo))
}

/// Watches a run for somebody, and assesses its parameters by the questions set apart.
pub(in crate::run) struct ValidationSet<'s> {
    pub(in crate::run) observer: &'s mut dyn Observer,
    pub(in crate::run) rule: Option<EarlyStop>,
    pub(in crate::run) scale: f32,
    pub(in crate::run) questions: &'s [Query],
    pub(in crate::run) catalog: &'s Catalog,
    pub(in crate::run) templates: &'s Templates,
    pub(in crate::run) tokenizer: &'s Tokenizer,
    pub(in crate::run) encoder: &'s mut Encoder,
}

impl Observer for ValidationSet<'_> {
    fn step(&mut self, progress: &Progress) -> bool {
        self.observer.step(progress)
    }

    fn checkpoints(&self) -> Option<&Checkpoints> {
        self.observer.checkpoints()
    }

    fn assess(&mut self, parameters: &ParameterBuffer) -> Result<Option<f32>, TrainError> {
        let Self { questions, catalog, templates, tokenizer, encoder, scale, .. } = self;
        let Some(rule) = self.rule.filter(|_| !questions.is_empty()) else { return Ok(None) };
        let embed = |texts: &[String]| embed(tokenizer, encoder, parameters, texts).map(unit);
        let score = match rule.metric {
            // Higher is better.
            Metric::Loss => held_out_loss(questions, catalog, templates, *scale, embed).map(|loss| -loss),
            Metric::Accuracy => {
                model_ranks(questions, catalog, templates, embed).map(|ranks| Scores::of(ranks).accuracy_at_1)
            }
        };
        match score {
            Ok(score) => Ok(Some(score as f32)),
            Err(EvaluateError::Encode(error)) => Err(error),
            Err(error) => Err(TrainError::Questions(Box::new(error))),
        }
    }
}

/// Rows of unit length, so that products are cosines whether or not the model's folder normalizes.
fn unit(mut embeddings: Array2<f32>) -> Array2<f32> {
    for mut row in embeddings.axis_iter_mut(Axis(0)) {
        let length = row.dot(&row).sqrt().max(1e-12);
        row.mapv_inplace(|number| number / length);
    }
    embeddings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{HoldOut, Side};

    fn dataset(count: i64) -> Dataset {
        let query = |number| Query {
            domain: "brand".into(),
            typo: format!("typo {number}"),
            corrected: "Toyota".into(),
            side: Side::NewTypo,
        };
        let mut dataset = Dataset::new(Vec::new(), &HoldOut::default(), &Templates::default());
        (dataset.queries, dataset.query_rows) = (0..count).map(|row| (query(row), row)).unzip();
        dataset
    }

    #[test]
    fn what_steers_does_not_judge() {
        let rule = EarlyStop { metric: Metric::Loss, patience: 2, every: None };
        let recipe = Recipe { early_stop: Some(rule), ..Recipe::default() };
        let mut dataset_of_run = dataset(100);
        let steering = split_validation_set(&recipe, &mut dataset_of_run);
        let judging = &dataset_of_run.queries;
        for (query, row) in judging.iter().zip(&dataset_of_run.query_rows) {
            assert_eq!(query.typo, format!("typo {row}"), "a question keeps its row");
        }
        assert_eq!(steering.len() + judging.len(), 100);
        assert!((30..=70).contains(&steering.len()), "{} steer", steering.len());
        assert!(steering.iter().all(|query| judging.iter().all(|other| other.typo != query.typo)));
        // Without early stop, or with too few, all of them judge.
        let mut all = dataset(100);
        assert!(split_validation_set(&Recipe::default(), &mut all).is_empty());
        assert_eq!(all.queries.len(), 100);
        let mut few = dataset(12);
        assert!(split_validation_set(&recipe, &mut few).is_empty());
        assert_eq!(few.queries.len(), 12);
    }
}
