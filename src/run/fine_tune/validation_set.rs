//! The validation set of a run: the held-out queries that decide an early stop, and the score of a
//! model in training on them.
//!
//! The validation set must not judge the final model. Early stop chooses the best of many assessed
//! models, so on these queries the model looks better than it is. Half of the held-out queries are
//! set apart for the validation set, and the gate uses the other half.

use ndarray::{Array2, Axis};

use crate::evaluate::{Catalog, EvaluateError, Query, Scores, held_out_loss, is_validation, model_ranks};
use crate::templates::Templates;
use autovalidate_finetune::model::Tokenizer;
use autovalidate_finetune::train::{
    Checkpoints, EarlyStop, Encoder, Metric, Observer, ParameterBuffer, Progress, Recipe, TrainError,
};

use crate::run::dataset::Dataset;
use crate::run::fine_tune::embed;

/// Minimum size of a validation set. The score on fewer queries depends more on chance than on the
/// model.
const FEWEST: usize = 10;

/// Removes the validation set from the dataset's queries and returns it. The set is empty when the
/// recipe has no early stop, or when there are too few queries.
pub(in crate::run) fn split_validation_set(recipe: &Recipe, dataset: &mut Dataset) -> Vec<Query> {
    if recipe.early_stop.is_none() {
        return Vec::new();
    }
    let count = dataset.queries.iter().filter(|query| is_validation(&query.typo)).count();
    if count < FEWEST || count == dataset.queries.len() {
        tracing::warn!(questions = count, "too few validation queries: the run won't stop early");
        return Vec::new();
    }
    dataset.take_queries(|query| is_validation(&query.typo))
}

/// Forwards the steps of a training to another observer, and assesses the parameters on the
/// validation set.
pub(in crate::run) struct ValidationSet<'s> {
    pub(in crate::run) observer: &'s mut dyn Observer,
    pub(in crate::run) early_stop: Option<EarlyStop>,
    pub(in crate::run) scale: f32,
    pub(in crate::run) queries: &'s [Query],
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

    fn checkpoint_written(&mut self, step: usize) {
        self.observer.checkpoint_written(step);
    }

    fn assess(&mut self, parameters: &ParameterBuffer) -> Result<Option<f32>, TrainError> {
        let Self { queries, catalog, templates, tokenizer, encoder, scale, .. } = self;
        let Some(early_stop) = self.early_stop.filter(|_| !queries.is_empty()) else { return Ok(None) };
        let embed = |texts: &[String]| embed(tokenizer, encoder, parameters, texts).map(unit);
        let score = match early_stop.metric {
            // Higher is better.
            Metric::Loss => held_out_loss(queries, catalog, templates, *scale, embed).map(|loss| -loss),
            Metric::Accuracy => {
                model_ranks(queries, catalog, templates, embed).map(|ranks| Scores::of(ranks).accuracy_at_1)
            }
        };
        match score {
            Ok(score) => Ok(Some(score as f32)),
            Err(EvaluateError::Encode(error)) => Err(error),
            Err(error) => Err(TrainError::Evaluation(Box::new(error))),
        }
    }
}

/// Scales each row to unit length, so that dot products are cosines whether or not the model's
/// folder normalizes.
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
    fn the_validation_set_does_not_judge() {
        let early_stop = EarlyStop { metric: Metric::Loss, patience: 2, every: None };
        let recipe = Recipe { early_stop: Some(early_stop), ..Recipe::default() };
        let mut dataset_of_run = dataset(100);
        let validation = split_validation_set(&recipe, &mut dataset_of_run);
        let judging = &dataset_of_run.queries;
        for (query, row) in judging.iter().zip(&dataset_of_run.query_rows) {
            assert_eq!(query.typo, format!("typo {row}"), "a query keeps its row");
        }
        assert_eq!(validation.len() + judging.len(), 100);
        assert!((30..=70).contains(&validation.len()), "{} in the validation set", validation.len());
        assert!(validation.iter().all(|query| judging.iter().all(|other| other.typo != query.typo)));
        // Without early stop, or with too few queries, all of them go to the gate.
        let mut all = dataset(100);
        assert!(split_validation_set(&Recipe::default(), &mut all).is_empty());
        assert_eq!(all.queries.len(), 100);
        let mut few = dataset(12);
        assert!(split_validation_set(&recipe, &mut few).is_empty());
        assert_eq!(few.queries.len(), 12);
    }
}
