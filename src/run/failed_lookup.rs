//! Runs that ended as failed while nobody knew whether they had published: the answer to an upload was
//! lost, and the Hub could not be asked before the attempts were over.

use std::time::SystemTime;

use super::error::RunError;
use super::pipeline::Pipeline;
use super::steps::find_published;
use super::storage::remove_stored_checkpoint;
use crate::broker::{RunRecord, RunState};
use crate::failure::chain;

/// Number of the newest runs among which failed ones are looked up.
const NEWEST: usize = 20;

impl Pipeline {
    /// Looks up the newest failed runs that have a zip, and completes the record of each whose release is
    /// on the Hub. A failure is logged only: the next run looks again.
    pub(in crate::run) async fn look_up_failed_runs(&self) {
        if let Err(error) = Box::pin(self.try_look_up_failed_runs()).await {
            tracing::warn!(error = chain(&error), "failed runs were not looked up on the Hub");
        }
    }

    async fn try_look_up_failed_runs(&self) -> Result<(), RunError> {
        let newest = self.runs.page(None, NEWEST).await?;
        for run in newest.runs.iter().filter(|run| run.state == RunState::Failed) {
            let Some((record, revision)) = self.runs.load(&run.id).await? else { continue };
            if record.state != RunState::Failed || !record.may_be_published() {
                continue;
            }
            let Some(artifact) = find_published(self, &record.packages).await? else { continue };
            let found = RunRecord { state: RunState::Done, artifact: Some(artifact), error: None, ..record };
            // Nobody else has touched the record since: a person may have retried the run meanwhile.
            self.runs.save(&found, revision).await?;
            tracing::info!(job = %found.id, "a run that had ended as failed has published");
            self.run_dir(&found)?.remove(SystemTime::now())?;
            remove_stored_checkpoint(self.checkpoints.as_ref(), &found.id, self.clock.now()).await;
        }
        Ok(())
    }
}
