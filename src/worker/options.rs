//! Options of a worker that are not settings: each machine of an installation has its own.

use std::path::PathBuf;
use std::time::Duration;

use super::role::Role;

/// Options of a worker that are not settings: each machine of an installation has its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerOptions {
    /// Role of the worker.
    pub role: Role,
    /// Time without any work after which the worker exits; `None` keeps it running.
    pub exit_when_idle: Option<Duration>,
    /// True when streams of another project are taken over: for stand-ins, whose address changes with
    /// every start.
    pub takes_over: bool,
    /// This program, for a process that has loaded the worker as a library; `None` for the program of
    /// this process.
    pub program: Option<PathBuf>,
}

impl From<Role> for WorkerOptions {
    fn from(role: Role) -> Self {
        Self { role, ..Self::default() }
    }
}
