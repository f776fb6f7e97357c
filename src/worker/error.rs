//! What keeps a worker from starting, or ends it.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::broker::QueueError;
use crate::failure::{Failure, RetryDirective};
use crate::hub::HubError;
use crate::ingest::RestError;
use autovalidate_finetune::onnx::RuntimeError;

/// What keeps a worker from starting, or ends it.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The broker.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The Hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The table.
    #[error(transparent)]
    Supabase(#[from] RestError),
    /// The library to compute with.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A setting that the role needs.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// The data directory.
    #[error("cannot make the data directory {}", path.display())]
    DataDir {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address for health, metrics and the webhook.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A task ended without having been told to.
    #[error("{0} ended by itself")]
    TaskEnded(&'static str),
}

impl Failure for WorkerError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Queue(error) => error.directive(),
            Self::Hub(error) => error.directive(),
            Self::Supabase(error) => error.directive(),
            Self::Runtime(error) => error.directive(),
            Self::Missing(_) | Self::DataDir { .. } | Self::Listen { .. } => RetryDirective::Person,
            Self::TaskEnded(_) => RetryDirective::Retry,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Queue(error) => error.advice(),
            Self::Hub(error) => error.advice(),
            Self::Supabase(error) => error.advice(),
            Self::Runtime(error) => error.advice(),
            Self::Missing(setting) => format!("Set {setting}; `autovalidate init` prints a template."),
            Self::DataDir { .. } => "Set DATA_DIR to a folder that can be written.".to_owned(),
            Self::Listen { .. } => "Set HTTP_ADDR to a free address, or stop what uses this one.".to_owned(),
            Self::TaskEnded(_) => {
                "Start the worker again and report what the log says before this.".to_owned()
            }
        }
    }
}
