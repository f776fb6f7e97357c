//! The error of writing and reading a checkpoint.

use std::io;
use std::path::PathBuf;

use crate::failure::{Failure, RetryDirective};

/// Error of writing or reading a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused, most likely because the disk is full. An earlier checkpoint is
    /// unchanged.
    #[error("can't {action} checkpoint {}", path.display())]
    File {
        /// `write` or `read`.
        action: &'static str,
        /// Path of the checkpoint.
        path: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// The file differs from what was written.
    #[error("checkpoint {} is damaged: {problem}", path.display())]
    Damaged {
        /// Path of the checkpoint.
        path: PathBuf,
        /// Description of the damage.
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
                format!("Check free space and permissions at {}, then start the run again.", path.display())
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
