//! Names of the stages of a run.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

/// A stage of a run, as run records and event subjects name it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Stage {
    /// Loads the model that training starts from.
    LoadBase,
    /// Fetches the rows and sorts them into training pairs and held-out queries.
    FetchData,
    /// Trains the model.
    Train,
    /// Scores the trained model and its baselines on the held-out queries.
    Evaluate,
    /// Decides whether the model may be published.
    Gate,
    /// Writes the model folder and its zip.
    Package,
    /// Uploads the zip and commits it to the Hub.
    Publish,
    /// Removes the run's files from this disk and its checkpoint from the broker.
    CleanUp,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// Returns the name of the stage in run records and event subjects.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
