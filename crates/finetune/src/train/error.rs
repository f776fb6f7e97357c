//! The error of training.

use crate::failure::{Failure, RetryDirective};
use crate::model::ModelError;
use crate::onnx::RuntimeError;

use super::CheckpointError;

/// Error of training.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The model folder can't be read or written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// ONNX Runtime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A checkpoint can't be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The loss or the gradient norm is NaN or infinite.
    #[error("{what} became {value} at step {step} (learning rate {learning_rate:e}, rows {rows:?})")]
    NotFinite {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// The value that is not finite.
        value: f32,
        /// Number of the step, from 0.
        step: usize,
        /// Learning rate of the step.
        learning_rate: f32,
        /// Ids of the batch's rows.
        rows: Vec<i64>,
    },
    /// The score of an assessment is NaN or infinite.
    #[error("the score of the parameters after step {step} is {score}, which is not finite")]
    Assessment {
        /// The score.
        score: f32,
        /// Number of steps done.
        step: usize,
    },
    /// The held-out queries can't be evaluated.
    #[error("the held-out queries can't be evaluated")]
    Evaluation(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The pairs have too few different corrections to learn from.
    #[error("{found} different corrections to train on; at least {needed} are needed")]
    TooFewPairs {
        /// Number of different corrections.
        found: usize,
        /// Smallest number that suffices.
        needed: usize,
    },
    /// A setting of the recipe is outside its range.
    #[error("{setting} is {value}; it must be {expected}")]
    Recipe {
        /// Name of the setting.
        setting: &'static str,
        /// Value of the setting.
        value: String,
        /// Values that the setting may have.
        expected: String,
    },
    /// A text has a token that is missing from the run's vocabulary.
    #[error("a text has a token outside the run's vocabulary")]
    ForeignToken,
    /// The observer stopped the run.
    #[error("stopped after step {step}")]
    Stopped {
        /// Number of steps done.
        step: usize,
    },
}

impl Failure for TrainError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Model(error) => error.directive(),
            Self::Runtime(error) => error.directive(),
            Self::Checkpoint(error) => error.directive(),
            Self::Assessment { .. } | Self::Evaluation(_) => RetryDirective::Never,
            Self::NotFinite { .. } | Self::TooFewPairs { .. } | Self::Recipe { .. } | Self::ForeignToken => {
                RetryDirective::Never
            }
            Self::Stopped { .. } => RetryDirective::Retry,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Model(error) => error.advice(),
            Self::Runtime(error) => error.advice(),
            Self::Checkpoint(error) => error.advice(),
            Self::Assessment { .. } => "Lower the learning rate.".to_owned(),
            Self::Evaluation(_) => "This is a defect; report it.".to_owned(),
            Self::NotFinite { .. } => {
                "Lower the learning rate, and check the listed rows for unusual texts.".to_owned()
            }
            Self::TooFewPairs { .. } => {
                "Add pairs with other corrections: training needs at least two different ones.".to_owned()
            }
            Self::Recipe { setting, expected, .. } => format!("Set {setting} to {expected}."),
            Self::ForeignToken => "This is a defect; report it.".to_owned(),
            Self::Stopped { .. } => {
                "Start the run again: it resumes from its last checkpoint, if it kept one.".to_owned()
            }
        }
    }
}
