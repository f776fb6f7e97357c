//! The stages of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stage of a run, as run records and event subjects name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Gets the model training starts from.
    LoadBase,
    /// Reads the pairs.
    FetchData,
    /// Trains.
    Train,
    /// Scores the model before and after.
    Evaluate,
    /// Decides whether it may be published.
    Gate,
    /// Writes the model folder and its zip.
    Package,
    /// Uploads and commits.
    Publish,
    /// Removes what the run left on disk.
    CleanUp,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 8] = [
        Self::LoadBase,
        Self::FetchData,
        Self::Train,
        Self::Evaluate,
        Self::Gate,
        Self::Package,
        Self::Publish,
        Self::CleanUp,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadBase => "load-base",
            Self::FetchData => "fetch-data",
            Self::Train => "train",
            Self::Evaluate => "evaluate",
            Self::Gate => "gate",
            Self::Package => "package",
            Self::Publish => "publish",
            Self::CleanUp => "clean-up",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
