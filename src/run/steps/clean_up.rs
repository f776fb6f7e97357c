//! Clean-up: removes what the run left on disk and on the broker.

use std::time::SystemTime;

use serde_json::json;

use crate::run::error::RunError;
use crate::run::stage::Stage;
use crate::run::storage::{blocking, remove_stored_checkpoint};

use super::{Step, StepContext, StepOutput};

/// Removes the run's folder, the folders of abandoned runs, and the stored checkpoint.
pub(in crate::run) struct CleanUp;

impl Step for CleanUp {
    const STAGE: Stage = Stage::CleanUp;
    type Output = ();

    async fn perform(self, context: &StepContext<'_>) -> Result<StepOutput<()>, RunError> {
        let StepContext { pipeline, job, .. } = context;
        let run_dir = context.run_dir.clone();
        let removed = blocking(move || run_dir.remove(SystemTime::now())).await?;
        remove_stored_checkpoint(pipeline.checkpoints.as_ref(), job, pipeline.clock.now()).await;
        StepOutput::new((), json!({ "workshops": removed }))
    }
}
