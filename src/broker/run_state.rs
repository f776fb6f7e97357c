//! Where a run stands.

use serde::{Deserialize, Serialize};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Known, not begun.
    Queued,
    /// Worked on, or interrupted and to be taken up again.
    Running,
    /// Finished: a model was published, or the run was a dry one.
    Done,
    /// Finished: the new model was not better, or a rollback keeps it from being published; then it can be retried.
    Refused,
    /// Given up: the dead letter, with the reason. It can be retried.
    Failed,
    /// Stopped by a person. It can be retried.
    Cancelled,
}

impl std::fmt::Display for RunState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

impl RunState {
    /// Whether nothing more will happen to the run.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Done | Self::Refused | Self::Failed | Self::Cancelled => true,
        }
    }
}
