//! Why training fails.

use crate::failure::{Failure, RetryDirective};
use crate::model::ModelError;
use crate::onnx::RuntimeError;

use super::CheckpointError;

/// Why training fails.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The model folder can't be read or written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A checkpoint can't be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The loss or a gradient is not a number, or infinite.
    #[error("{what} became {value} at step {step} (learning rate {learning_rate:e}, rows {rows:?})")]
    NotFinite {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// What it became.
        value: f32,
        /// The step, from 0.
        step: usize,
        /// The step's learning rate.
        learning_rate: f32,
        /// Ids of the batch's rows.
        rows: Vec<i64>,
    },
    /// How good the parameters are is not a number.
    #[error("the parameters were assessed as {score} after step {step}")]
    Assessment {
        /// The score.
        score: f32,
        /// Steps done.
        step: usize,
    },
    /// Held-out questions can't be asked.
    #[error("the held-out questions can't be asked")]
    Questions(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is nothing to learn from.
    #[error("{found} pairs to train on; at least {needed} with different corrections are needed")]
    TooFewPairs {
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A setting of the recipe is absurd.
    #[error("{setting} is {value}; it must be {expected}")]
    Recipe {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A text has a token that the run's vocabulary was not made from.
    #[error("a text has a token outside the run's vocabulary")]
    ForeignToken,
    /// The caller asked to stop.
    #[error("stopped after step {step}")]
    Stopped {
        /// Steps done.
        step: usize,
    },
}

impl Failure for TrainError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Model(error) => error.directive(),
            Self::Runtime(error) => error.directive(),
            Self::Checkpoint(error) => error.directive(),
            Self::Assessment { .. } | Self::Questions(_) => RetryDirective::Never,
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
            Self::Questions(_) => "This is a defect; report it.".to_owned(),
            Self::NotFinite { .. } => {
                "Lower the learning rate; look at the rows named for extreme texts.".to_owned()
            }
            Self::TooFewPairs { .. } => {
                "Wait for more corrections, or train with --force on fewer.".to_owned()
            }
            Self::Recipe { setting, expected, .. } => format!("Set {setting} to {expected}."),
            Self::ForeignToken => "This is a defect; report it.".to_owned(),
            Self::Stopped { .. } => {
                "Start the run again: it goes on from its checkpoint if it kept any.".to_owned()
            }
        }
    }
}
