//! Names of the stages of a run.

use serde::{Deserialize, Serialize};
use strum::VariantArray;
use tracing::Span;
use tracing::field::Empty;

use crate::broker::JobId;

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

    /// Returns the span of this stage of a run. Names of spans are fixed when the program is compiled.
    pub(super) fn span(self, job: &JobId) -> Span {
        macro_rules! span {
            ($name:literal) => {
                tracing::info_span!($name, %job, stage = $name, otel.status_code = Empty)
            };
        }
        match self {
            Self::LoadBase => span!("load-base"),
            Self::FetchData => span!("fetch-data"),
            Self::Train => span!("train"),
            Self::Evaluate => span!("evaluate"),
            Self::Gate => span!("gate"),
            Self::Package => span!("package"),
            Self::Publish => span!("publish"),
            Self::CleanUp => span!("clean-up"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_the_name_of_its_stage() {
        let everything = tracing_subscriber::registry();
        tracing::subscriber::with_default(everything, || {
            for stage in Stage::ALL {
                let span = stage.span(&JobId::manual(1));
                assert_eq!(span.metadata().map(tracing::Metadata::name), Some(stage.name()));
            }
        });
    }
}
