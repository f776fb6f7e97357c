//! Runs that ended as failed while nobody knew whether they had published: the answer to an upload was
//! lost, and the Hub could not be asked before the attempts were over.

use super::error::RunError;
use super::pipeline::Pipeline;
use super::steps::{clean_up, published_among};
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
        let mut unknown = Vec::new();
        for run in newest.runs.iter().filter(|run| run.state == RunState::Failed) {
            let loaded = self.runs.load(&run.id).await?;
            unknown.extend(
                loaded.filter(|(record, _)| record.state == RunState::Failed && record.may_be_published()),
            );
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let releases = Box::pin(self.repository.releases()).await?;
        for (record, revision) in unknown {
            let found = published_among(self, &releases, &record.packages).await?;
            let Some(artifact) = found else { continue };
            let found = RunRecord { state: RunState::Done, artifact: Some(artifact), error: None, ..record };
            // Nobody else has touched the record since: a person may have retried the run meanwhile.
            self.runs.save(&found, revision).await?;
            tracing::info!(job = %found.id, "a run that had ended as failed has published");
            clean_up(self, &found.id, self.run_dir(&found)?).await?;
        }
        Ok(())
    }
}
