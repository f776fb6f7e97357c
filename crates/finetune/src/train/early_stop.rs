//! Early stop: after which steps a run's parameters are assessed, which assessment was best, and when a run is over.
//!
//! Owns the rule and the best parameters so far. Never knows by what they are assessed: an
//! [`Observer`](super::Observer) says how good they are.

use serde::{Deserialize, Serialize};

use super::{ParameterBuffer, Stepper, TrainError};

/// What held-out questions are assessed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The cross-entropy of the right name among all of its domain.
    Loss,
    /// The share of questions whose right name comes first.
    Accuracy,
}

/// When a run ends before its last step. The parameters that are kept are the best assessed, wherever it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// What the observer assesses by.
    pub metric: Metric,
    /// So many assessments in a row that aren't better than the best end the run.
    pub patience: usize,
    /// Steps between assessments, the last step being assessed anyway; `None` assesses at the end of each epoch.
    pub every: Option<usize>,
}

/// How good the parameters were after a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// Steps done.
    pub step: usize,
    /// Higher is better.
    pub score: f32,
}

/// What a checkpoint holds of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assessed {
    /// The scores so far; after which steps follows from the recipe.
    pub scores: Vec<f32>,
    /// The parameters of the best score; empty before the first.
    pub best: Vec<f32>,
    /// What weight decay had left of untrained rows by then.
    pub decay_factor: f64,
}

/// The rule applied to a run.
pub(super) struct Assessments {
    rule: Option<EarlyStop>,
    /// Steps after which the parameters are assessed, ascending.
    due: Vec<usize>,
    assessed: Assessed,
}

impl Assessments {
    /// Of a run whose epochs end after these steps.
    pub(super) fn new(rule: Option<EarlyStop>, ends: &[usize]) -> Self {
        let last = ends.last().copied().unwrap_or(0);
        let mut due = match rule {
            None => Vec::new(),
            Some(EarlyStop { every: None, .. }) => ends.to_vec(),
            Some(EarlyStop { every: Some(steps), .. }) => (1..)
                .map(|number| number * steps.max(1))
                .take_while(|step| *step < last)
                .chain([last])
                .collect(),
        };
        due.dedup();
        Self { rule, due, assessed: Assessed::default() }
    }

    /// Goes on from a checkpoint.
    pub(super) fn restore(&mut self, assessed: Assessed) {
        self.assessed = assessed;
    }

    /// What a checkpoint must hold.
    pub(super) fn assessed(&self) -> &Assessed {
        &self.assessed
    }

    /// Whether the parameters are to be assessed after so many steps.
    pub(super) fn due(&self, step: usize) -> bool {
        self.due.binary_search(&step).is_ok()
    }

    /// Takes in how good `stepper`'s parameters are.
    pub(super) fn take(&mut self, score: f32, stepper: &mut Stepper) -> Result<(), TrainError> {
        if !score.is_finite() {
            return Err(TrainError::Assessment { score, step: stepper.progress().0 as usize });
        }
        if self.best().is_none_or(|(_, best)| score > best) {
            self.assessed.best = stepper.parameters()?.values().to_vec();
            self.assessed.decay_factor = stepper.progress().1;
        }
        self.assessed.scores.push(score);
        Ok(())
    }

    /// Number and score of the best assessment, of equal ones the first.
    fn best(&self) -> Option<(usize, f32)> {
        let better = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
        self.assessed.scores.iter().copied().enumerate().reduce(better)
    }

    /// Whether patience is at its end.
    pub(super) fn over(&self) -> bool {
        let since = self.best().map_or(0, |(number, _)| self.assessed.scores.len() - 1 - number);
        self.rule.is_some_and(|rule| since >= rule.patience)
    }

    /// Puts the best parameters into `parameters`, and says what decay had left of untrained rows; `None` when
    /// nothing was assessed.
    pub(super) fn keep_best(&self, parameters: &mut ParameterBuffer) -> Option<f64> {
        self.best()?;
        parameters.values_mut().copy_from_slice(&self.assessed.best);
        Some(self.assessed.decay_factor)
    }

    /// Every assessment.
    pub(super) fn assessments(&self) -> Vec<Assessment> {
        let scores = self.assessed.scores.iter();
        self.due.iter().zip(scores).map(|(step, score)| Assessment { step: *step, score: *score }).collect()
    }

    /// Steps that led to the best assessment.
    pub(super) fn best_step(&self) -> Option<usize> {
        self.best().map(|(number, _)| self.due[number])
    }
}
