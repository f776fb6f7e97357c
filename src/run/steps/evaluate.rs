//! Evaluate: scores the trained model and its baselines on the held-out queries.

use std::path::PathBuf;

use crate::broker::RunRecord;
use crate::evaluate::Report;
use crate::hub::LiveRelease;
use crate::run::error::RunError;
use crate::run::fine_tune::{ModelComparison, TrainedModel};
use crate::run::stage::Stage;
use crate::run::storage::blocking;

use super::{Step, StepContext, StepOutput, to_json};

/// Evaluates a trained model against the live model and the original one.
pub(in crate::run) struct Evaluate {
    pub(in crate::run) trained: TrainedModel,
    pub(in crate::run) comparison: ModelComparison,
    /// The live release; `None` before the first release.
    pub(in crate::run) live: Option<LiveRelease>,
    /// Sentence that says why another model takes the place of the live one.
    pub(in crate::run) instead_of_live: Option<String>,
}

/// An evaluated model.
pub(in crate::run) struct Evaluated {
    pub(in crate::run) trained: TrainedModel,
    pub(in crate::run) report: Report,
    /// The release that the model was measured against.
    pub(in crate::run) live: Option<LiveRelease>,
    /// Folder of the original model, if that model was available.
    pub(in crate::run) original: Option<PathBuf>,
}

impl Step for Evaluate {
    const STAGE: Stage = Stage::Evaluate;
    type Output = Evaluated;

    async fn perform(self, context: &StepContext<'_>) -> Result<StepOutput<Evaluated>, RunError> {
        let policy = context.pipeline.plan.gate;
        let Self { mut trained, comparison, live, instead_of_live } = self;
        let original = comparison.original.as_ref().map(|original| original.path().to_owned());
        let (trained, report) = blocking(move || {
            let mut report = trained.evaluate(&policy, &comparison)?;
            report.gate.instead_of_live = instead_of_live;
            Ok((trained, report))
        })
        .await?;
        let figures = to_json(report.outline())?;
        Ok(StepOutput { output: Evaluated { trained, report, live, original }, figures })
    }

    fn record(output: &Evaluated, record: &mut RunRecord) -> Result<(), RunError> {
        record.metrics = to_json(output.report.outline())?;
        record.verdict = Some(output.report.gate.verdict.name().to_owned());
        Ok(())
    }
}
