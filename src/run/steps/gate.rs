//! Gate: decides whether the model may be published.

use serde_json::json;

use crate::evaluate::Report;
use crate::run::error::RunError;
use crate::run::stage::Stage;

use super::{Step, StepContext, StepOutput};

/// Decides from the report, or from a person's `force`. The output is true when the model may be
/// published.
pub(in crate::run) struct Gate<'a> {
    pub(in crate::run) report: &'a Report,
}

impl Step for Gate<'_> {
    const STAGE: Stage = Stage::Gate;
    type Output = bool;

    async fn perform(self, context: &StepContext<'_>) -> Result<StepOutput<bool>, RunError> {
        let report = self.report;
        let publish = report.may_be_published(context.request.force);
        let figures = json!({
            "verdict": report.gate.verdict,
            "sentence": report.gate.sentence(),
            "defects": report.sanity.defects,
            "publish": publish,
            "forced": publish && !report.may_be_published(false),
        });
        StepOutput::new(publish, figures)
    }
}
