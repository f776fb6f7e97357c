//! The error of the crate as a whole, for callers of [`fine_tune`](crate::fine_tune()).

use crate::failure::{Failure, Remedy};
use crate::model::ModelError;
use crate::onnx::RuntimeError;
use crate::train::TrainError;

/// Why a folder can't be fine-tuned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder can't be read, trained or written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The ONNX Runtime can't be loaded or failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl Failure for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Model(error) => error.remedy(),
            Self::Runtime(error) => error.remedy(),
            Self::Train(error) => error.remedy(),
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
