//! Early stop: the steps after which a run's parameters are assessed, the best assessment, and the
//! end of the run.
//!
//! Owns the rule and the best parameters so far. Never computes a score: an
//! [`Observer`](super::Observer) does.

use serde::{Deserialize, Serialize};

use super::{ParameterBuffer, Stepper, TrainError};

/// Metric by which the answers to held-out queries are assessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Cross-entropy of the right name among all names of its domain.
    Loss,
    /// Share of queries whose right name ranks first.
    Accuracy,
}

/// Rule that ends a run before its last step. Whenever the run ends, it keeps the best parameters
/// assessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// Metric by which the observer assesses.
    pub metric: Metric,
    /// Number of consecutive assessments without a new best score that ends the run.
    pub patience: usize,
    /// Number of steps between assessments; the last step is always assessed. `None` assesses at
    /// the end of each epoch.
    pub every: Option<usize>,
}

/// Score of the parameters after a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// Number of steps done.
    pub step: usize,
    /// Score; higher is better.
    pub score: f32,
}

/// State of a run's assessments, as a checkpoint holds it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assessed {
    /// Scores so far. The recipe determines the steps after which they were taken.
    pub scores: Vec<f32>,
    /// Parameters with the best score; empty before the first assessment.
    pub best: Vec<f32>,
    /// Decay factor of untrained rows at the time of the best score.
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
    /// Returns the empty state of a run whose epochs end after these steps.
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

    /// Restores the state from a checkpoint.
    pub(super) fn restore(&mut self, assessed: Assessed) {
        self.assessed = assessed;
    }

    /// Returns the state that a checkpoint must hold.
    pub(super) fn assessed(&self) -> &Assessed {
        &self.assessed
    }

    /// Returns true when the parameters must be assessed after `step` steps.
    pub(super) fn due(&self, step: usize) -> bool {
        self.due.binary_search(&step).is_ok()
    }

    /// Records the score of `stepper`'s parameters, and copies them if the score is the best so
    /// far.
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

    /// Returns the index and the score of the best assessment; the first one wins a tie.
    fn best(&self) -> Option<(usize, f32)> {
        let better = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
        self.assessed.scores.iter().copied().enumerate().reduce(better)
    }

    /// Returns true when the patience is exhausted.
    pub(super) fn over(&self) -> bool {
        let since = self.best().map_or(0, |(number, _)| self.assessed.scores.len() - 1 - number);
        self.rule.is_some_and(|rule| since >= rule.patience)
    }

    /// Copies the best parameters into `parameters` and returns the decay factor of untrained rows
    /// at their time. Returns `None` when nothing was assessed.
    pub(super) fn keep_best(&self, parameters: &mut ParameterBuffer) -> Option<f64> {
        self.best()?;
        parameters.values_mut().copy_from_slice(&self.assessed.best);
        Some(self.assessed.decay_factor)
    }

    /// Returns every assessment.
    pub(super) fn assessments(&self) -> Vec<Assessment> {
        let scores = self.assessed.scores.iter();
        self.due.iter().zip(scores).map(|(step, score)| Assessment { step: *step, score: *score }).collect()
    }

    /// Returns the number of steps before the best assessment.
    pub(super) fn best_step(&self) -> Option<usize> {
        self.best().map(|(number, _)| self.due[number])
    }
}
