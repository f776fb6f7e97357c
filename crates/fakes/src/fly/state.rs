//! States of a machine, by the names of the real API.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A state of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineState {
    /// The machine exists but never started.
    Created,
    /// The machine is being prepared.
    Creating,
    /// The machine is on its way to `started`.
    Starting,
    /// The machine runs.
    Started,
    /// The machine got a signal and has not exited.
    Stopping,
    /// The machine exited.
    Stopped,
    /// The machine is being frozen.
    Suspending,
    /// The machine is frozen, and the next start continues it.
    Suspended,
    /// The machine exited and starts again.
    Restarting,
    /// The machine is being updated to a new version.
    Updating,
    /// The machine is being replaced by a new version.
    Replacing,
    /// The machine failed to launch.
    LaunchFailed,
    /// The machine could not start.
    Failed,
    /// The machine is being removed.
    Destroying,
    /// The machine no longer exists.
    Destroyed,
}

impl MachineState {
    const ALL: [Self; 15] = [
        Self::Created,
        Self::Creating,
        Self::Starting,
        Self::Started,
        Self::Stopping,
        Self::Stopped,
        Self::Suspending,
        Self::Suspended,
        Self::Restarting,
        Self::Updating,
        Self::Replacing,
        Self::LaunchFailed,
        Self::Failed,
        Self::Destroying,
        Self::Destroyed,
    ];

    /// Returns the name that the API uses, such as `launch_failed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Creating => "creating",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Restarting => "restarting",
            Self::Updating => "updating",
            Self::Replacing => "replacing",
            Self::LaunchFailed => "launch_failed",
            Self::Failed => "failed",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
        }
    }

    /// Returns true while the machine costs money: its process runs.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Started | Self::Stopping | Self::Suspending)
    }

    /// Returns true when a start can end in `started` from here.
    pub(super) fn is_startable(self) -> bool {
        matches!(self, Self::Stopped | Self::Suspended | Self::Failed)
    }
}

impl fmt::Display for MachineState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Text that names no state.
#[derive(Debug, thiserror::Error)]
#[error("no machine state has the name {0:?}")]
pub struct UnknownState(String);

impl FromStr for MachineState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| UnknownState(text.chars().take(40).collect()))
    }
}
