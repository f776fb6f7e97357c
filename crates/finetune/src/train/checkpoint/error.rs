//! Why a checkpoint can't be written or used.

use std::io;
use std::path::PathBuf;

use crate::failure::{Failure, RetryDirective};

/// Why a checkpoint can't be written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused; a full disk is the likeliest reason. An earlier checkpoint is as it was.
    #[error("can't {action} checkpoint {}", path.display())]
    File {
        /// `write` or `read`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("checkpoint {} is damaged: {problem}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Failure for CheckpointError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::File { .. } => RetryDirective::Person,
            Self::Damaged { .. } => RetryDirective::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::File { path, .. } => {
                format!("Check free space and rights at {}, then start the run again.", path.display())
            }
            Self::Damaged { path, .. } => {
                format!(
                    "Check the disk, delete {}, and start the run again from its beginning.",
                    path.display()
                )
            }
        }
    }
}
