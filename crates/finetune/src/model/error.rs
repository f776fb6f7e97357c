//! Why a model folder can't be read, trained or written.

use std::path::PathBuf;

use crate::failure::{Failure, RetryDirective};

/// Why a model folder can't be read, trained or written.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of the folder can't be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A JSON file of the folder is malformed.
    #[error("{file} of the model folder is malformed")]
    Config {
        /// The file's name.
        file: &'static str,
        /// Where and how.
        source: serde_json::Error,
    },
    /// The folder describes something this program can't train.
    #[error("the model's {what} is {found}; supported: {supported}")]
    Unsupported {
        /// What is unsupported.
        what: &'static str,
        /// What the folder says.
        found: String,
        /// What it may say.
        supported: &'static str,
    },
    /// The weight file is cut short or inconsistent.
    #[error("the weight file {} is damaged: {problem}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor is missing or has the wrong shape or type.
    #[error("tensor {tensor} of the weight file: {problem}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
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
