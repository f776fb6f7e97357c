//! State of a run.

use serde::{Deserialize, Serialize};

/// State of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RunState {
    /// Waiting in the queue.
    Queued,
    /// In progress, or interrupted and about to be resumed.
    Running,
    /// Finished: a model was published, or the run was a dry run.
    Done,
    /// Finished without a release: the new model was not better, or a rollback keeps it from being
    /// published. In the second case, the run can be retried.
    Refused,
    /// Given up after failures: the dead letter, with the reason. It can be retried.
    Failed,
    /// Stopped by a person. It can be retried.
    Cancelled,
}

impl RunState {
    /// Returns true when nothing more will happen to the run.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Done | Self::Refused | Self::Failed | Self::Cancelled => true,
        }
    }
}
