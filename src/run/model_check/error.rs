//! Failures of reading a model folder in a process of its own.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, RetryDirective, chain};
use crate::text::plain_line;

/// Longest message that is taken from the reading process, in bytes.
const MESSAGE: usize = 2_000;

/// Error that the reading process met, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    message: String,
    advice: String,
    directive: RetryDirective,
    /// True when the model is at fault, and not the disk or the runtime.
    of_model: bool,
}

impl Refusal {
    pub(super) fn new(error: &impl Failure, of_model: bool) -> Self {
        let (message, advice) = (chain(error), error.advice());
        Self { message, advice, directive: error.directive(), of_model }.in_lines()
    }

    /// Returns the refusal of a model on which the libraries panicked.
    pub(super) fn panicked() -> Self {
        Self {
            message: "the libraries that read a model panicked on it".to_owned(),
            advice: ANOTHER.to_owned(),
            directive: RetryDirective::Never,
            of_model: true,
        }
    }

    /// Returns the refusal with texts that fit one line each: the process has read hostile bytes.
    pub(super) fn in_lines(self) -> Self {
        let Self { message, advice, .. } = &self;
        let (message, advice) = (plain_line(message, MESSAGE), plain_line(advice, MESSAGE));
        Self { message, advice, ..self }
    }
}

const ANOTHER: &str = "Choose another model, or save this one again with SentenceTransformer.save.";

/// Error of reading a model folder in a process of its own.
#[derive(Debug, thiserror::Error)]
pub enum ModelCheckError {
    /// The folder was read, and can't be used.
    #[error(transparent)]
    Refused(Refusal),
    /// The process took too long.
    #[error("reading the model in {} took more than {} s", folder.display(), limit.as_secs_f64())]
    Late {
        /// The folder.
        folder: PathBuf,
        /// Longest duration.
        limit: Duration,
    },
    /// The process ended without a verdict.
    #[error(
        "reading the model in {} ended with {status}, most likely because it needs more memory than its files \
         explain", folder.display()
    )]
    Died {
        /// The folder.
        folder: PathBuf,
        /// End of the process.
        status: ExitStatus,
    },
    /// The process can't be started or talked to.
    #[error("the process that reads a model can't be started")]
    Start(#[source] std::io::Error),
}

impl ModelCheckError {
    /// Returns true when the model is at fault, and not this machine.
    pub fn is_of_model(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.of_model,
            Self::Late { .. } => true,
            Self::Died { status, .. } => !was_killed(status),
            Self::Start(_) => false,
        }
    }
}

/// Returns true when somebody killed the process, such as a system that is short of memory.
fn was_killed(status: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(nix::sys::signal::Signal::SIGKILL as i32)
}

impl Failure for ModelCheckError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Refused(refusal) => refusal.directive,
            Self::Late { .. } => RetryDirective::Never,
            Self::Died { status, .. } if was_killed(status) => RetryDirective::Retry,
            Self::Died { .. } => RetryDirective::Never,
            Self::Start(_) => RetryDirective::Retry,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.advice.clone(),
            Self::Late { .. } | Self::Died { .. } => ANOTHER.to_owned(),
            Self::Start(_) => "Check that this machine has free memory and room for processes.".to_owned(),
        }
    }
}
