//! The error of the crate's entry point, [`fine_tune`](crate::fine_tune()).

use crate::failure::{Failure, RetryDirective};
use crate::model::ModelError;
use crate::onnx::RuntimeError;
use crate::train::TrainError;

/// Error of fine-tuning a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder can't be read, trained or written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// ONNX Runtime can't be loaded, or a call to it failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl Failure for Error {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Model(error) => error.directive(),
            Self::Runtime(error) => error.directive(),
            Self::Train(error) => error.directive(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Model(error) => error.advice(),
            Self::Runtime(error) => error.advice(),
            Self::Train(error) => error.advice(),
        }
    }
}
