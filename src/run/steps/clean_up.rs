//! Clean-up: removes what the run left on disk and on the broker.

use std::time::SystemTime;

use serde_json::json;

use crate::broker::JobId;
use crate::run::error::RunError;
use crate::run::pipeline::Pipeline;
use crate::run::stage::Stage;
use crate::run::storage::{RunDir, blocking, remove_stored_checkpoint};

use super::{Step, StepContext, StepOutput};

/// Removes the run's folder, the folders of abandoned runs, and the stored checkpoint.
pub(in crate::run) struct CleanUp;

impl Step for CleanUp {
    const STAGE: Stage = Stage::CleanUp;
    type Output = ();

    async fn perform(self, context: &StepContext<'_>) -> Result<StepOutput<()>, RunError> {
        let StepContext { pipeline, job, run_dir, .. } = context;
        let removed = clean_up(pipeline, job, run_dir.clone()).await?;
        StepOutput::new((), json!({ "workshops": removed }))
    }
}

/// Removes a run's folder, the folders of abandoned runs, and the stored checkpoint. Returns the number of
/// folders removed.
pub(in crate::run) async fn clean_up(
    pipeline: &Pipeline,
    job: &JobId,
    run_dir: RunDir,
) -> Result<usize, RunError> {
    let removed = blocking(move || run_dir.remove(SystemTime::now())).await?;
    remove_stored_checkpoint(pipeline.checkpoints.as_ref(), job, pipeline.clock.now()).await;
    Ok(removed)
}
