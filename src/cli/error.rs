//! Errors of a command, and the exit codes that they end the program with.

use crate::broker::BrokerError;
use crate::failure::{Failure, RetryDirective};
use crate::settings::SettingsError;
use crate::worker::WorkerError;

/// Errors of a command.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error(transparent)]
    Job(#[from] crate::run::RunError),
    #[error(transparent)]
    Rollback(#[from] crate::run::RollbackError),
    /// An argument that no settings and no service can make right.
    #[error("{what}")]
    Argument { what: String, advice: String },
    #[error("{what}")]
    Plain {
        what: String,
        advice: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl CliError {
    pub(super) fn plain(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Plain { what: what.into(), advice: advice.into(), source: None }
    }

    /// Returns the error of a wrong argument.
    pub(super) fn argument(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Argument { what: what.into(), advice: advice.into() }
    }

    /// Returns the exit code that the error ends the program with.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Argument { .. } => 2,
            Self::Worker(_) | Self::Job(_) | Self::Rollback(_) | Self::Plain { .. } => 1,
        }
    }
}

impl From<BrokerError> for CliError {
    fn from(error: BrokerError) -> Self {
        Self::Worker(error.into())
    }
}

impl From<crate::hub::HubError> for CliError {
    fn from(error: crate::hub::HubError) -> Self {
        Self::Worker(error.into())
    }
}

impl Failure for CliError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Settings(error) => error.directive(),
            Self::Worker(error) => error.directive(),
            Self::Job(error) => error.directive(),
            Self::Rollback(error) => error.directive(),
            Self::Argument { .. } | Self::Plain { .. } => RetryDirective::Person,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Settings(error) => error.advice(),
            Self::Worker(error) => error.advice(),
            Self::Job(error) => error.advice(),
            Self::Rollback(error) => error.advice(),
            Self::Argument { advice, .. } | Self::Plain { advice, .. } => advice.clone(),
        }
    }
}
