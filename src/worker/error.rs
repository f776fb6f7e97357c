//! Errors that keep a worker from starting, or end it.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::broker::BrokerError;
use crate::failure::{Failure, RetryDirective};
use crate::hub::HubError;
use crate::ingest::{RestError, SweepError};
use crate::launcher::LaunchError;
use autovalidate_finetune::onnx::RuntimeError;

/// Error that keeps a worker from starting, or ends it.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The broker failed.
    #[error(transparent)]
    Queue(#[from] BrokerError),
    /// The Hub failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The table can't be read.
    #[error(transparent)]
    Supabase(#[from] RestError),
    /// The table can't be swept.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// The inference library (ONNX Runtime) can't be used.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The way to start a trainer can't be used.
    #[error(transparent)]
    Launcher(#[from] LaunchError),
    /// Alerts can't be sent.
    #[error("alerts can't be sent")]
    Alerts(#[source] reqwest::Error),
    /// A setting that the role needs is not set.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// The data directory can't be created.
    #[error("cannot create the data directory {}", path.display())]
    DataDir {
        /// Path of the directory.
        path: PathBuf,
        /// Error from the operating system.
        source: std::io::Error,
    },
    /// The address for health, metrics and the webhook can't be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address that was tried.
        address: SocketAddr,
        /// Error from the operating system.
        source: std::io::Error,
    },
    /// A task ended although the worker was not stopping.
    #[error("the task {task} ended by itself")]
    TaskEnded {
        /// Name of the task.
        task: &'static str,
    },
    /// A task panicked: a defect.
    #[error("the task {task} panicked: {message}")]
    TaskPanicked {
        /// Name of the task.
        task: &'static str,
        /// The panic's message.
        message: String,
    },
}

impl Failure for WorkerError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Queue(error) => error.directive(),
            Self::Hub(error) => error.directive(),
            Self::Supabase(error) => error.directive(),
            Self::Sweep(error) => error.directive(),
            Self::Runtime(error) => error.directive(),
            Self::Launcher(error) => error.directive(),
            Self::Alerts(_) | Self::Missing(_) | Self::DataDir { .. } | Self::Listen { .. } => {
                RetryDirective::Person
            }
            Self::TaskEnded { .. } | Self::TaskPanicked { .. } => RetryDirective::Retry,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Queue(error) => error.advice(),
            Self::Hub(error) => error.advice(),
            Self::Supabase(error) => error.advice(),
            Self::Sweep(error) => error.advice(),
            Self::Runtime(error) => error.advice(),
            Self::Launcher(error) => error.advice(),
            Self::Alerts(_) => {
                "Install the system's certificates (the package ca-certificates), or unset ALERT_URL."
                    .to_owned()
            }
            Self::Missing(setting) => {
                format!("Set {setting}; `autovalidate init` writes a new installation's settings.")
            }
            Self::DataDir { .. } => "Set DATA_DIR to a folder that the worker can write to.".to_owned(),
            Self::Listen { .. } => {
                "Set HTTP_ADDR to a free address, or stop the program that uses this one.".to_owned()
            }
            Self::TaskEnded { .. } | Self::TaskPanicked { .. } => {
                "Start the worker again, and report the log lines before this error.".to_owned()
            }
        }
    }
}
