//! The error of reading, checking and writing a model folder.

use std::path::PathBuf;

use crate::failure::{Failure, RetryDirective};

/// Error of reading, checking or writing a model folder.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of the folder can't be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Error of the file system.
        source: std::io::Error,
    },
    /// A JSON file of the folder is malformed.
    #[error("{file} of the model folder is malformed")]
    Config {
        /// The file's name.
        file: &'static str,
        /// Description and position of the mistake.
        source: serde_json::Error,
    },
    /// The folder describes a model that this crate can't train.
    #[error("the model's {what} is {found}; supported: {supported}")]
    Unsupported {
        /// Unsupported property.
        what: &'static str,
        /// Value in the folder.
        found: String,
        /// Supported values.
        supported: &'static str,
    },
    /// The weight file is cut short or inconsistent.
    #[error("the weight file {} is damaged: {problem}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// Description of the damage.
        problem: String,
    },
    /// A tensor is missing or has the wrong shape or type.
    #[error("tensor {tensor} of the weight file: {problem}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// Description of the problem.
        problem: String,
    },
    /// The tokenizer can't be used.
    #[error("tokenizer.json can't be used")]
    Tokenizer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Failure for ModelError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::File { .. } => RetryDirective::Person,
            Self::Config { .. }
            | Self::Unsupported { .. }
            | Self::Weights { .. }
            | Self::Tensor { .. }
            | Self::Tokenizer(_) => RetryDirective::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::File { .. } => "Check that the path exists, is readable and that the disk has room.",
            Self::Config { .. } | Self::Tokenizer(_) => {
                "Save the model again with SentenceTransformer.save and use that folder."
            }
            Self::Unsupported { .. } => {
                "Choose another BASE_MODEL, such as sentence-transformers/all-MiniLM-L6-v2."
            }
            Self::Weights { .. } => "The file was cut short or altered: fetch the model again.",
            Self::Tensor { .. } => {
                "config.json and model.safetensors don't belong together: fetch the model again."
            }
        }
        .to_owned()
    }
}
