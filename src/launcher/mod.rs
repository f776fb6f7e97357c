//! Start of a trainer: brings up a machine when a job waits and no trainer is up.
//!
//! Owns the decision when to start a trainer, the record of the last start, and the ways to start
//! one. Never runs a job, and never stops a machine: an idle trainer exits by itself.
//!
//! Each job gets one start. Its record is claimed by compare-and-swap before the start, so that
//! several listeners start one machine. A start is repeated only when it failed, or when no trainer
//! has come up in time.
//!
//! ```text
//! watch.rs    the task that looks at the queue and starts trainers
//! claim.rs    record of the last start, and the claim on the next one
//! command.rs  start by a command
//! fly/        start of a Fly machine
//! metrics.rs  number of starts by result, for `/metrics`
//! error.rs    reasons why a start failed
//! ```

mod claim;
mod command;
mod error;
mod fly;
mod metrics;
mod watch;

use std::fmt::Debug;

use futures::future::BoxFuture;

use crate::broker::JobId;

pub use claim::{StartRecord, StartState};
pub use command::CommandLauncher;
pub use error::LaunchError;
pub use fly::{FlyApp, FlyLauncher};
pub use metrics::StartMetrics;
pub use watch::{Look, TrainerStarter};

/// A way to start a trainer.
pub trait Launcher: Debug + Send + Sync + 'static {
    /// Starts a trainer for this job, unless one is up or on its way.
    fn launch<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<Launch, LaunchError>>;

    /// Checks that a trainer could be started, without starting one. Returns a sentence for the
    /// operator.
    fn check(&self) -> BoxFuture<'_, Result<String, LaunchError>>;
}

/// Outcome of a launch.
#[derive(Debug, Clone, PartialEq, Eq, strum::Display)]
pub enum Launch {
    /// A trainer was started; the text names it.
    #[strum(to_string = "a trainer is starting: {0}")]
    Started(String),
    /// A trainer is up or on its way already; the text names it.
    #[strum(to_string = "a trainer is up or on its way: {0}")]
    Up(String),
}
