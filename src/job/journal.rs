//! What a run has done so far: the record in the bucket, and the events beside it.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::queue::{
    Clock, Events, Job, QueueError, RecordedError, Revision, RunRecord, RunState, Runs, StageRecord,
};

use super::{JobError, Stage};

/// Event stage of a run's end.
pub const ENDED: &str = "ended";

/// Keeps a run's record and tells the world. An event that can't be published is logged and forgotten: the
/// record is what counts.
pub(super) struct Journal {
    runs: Runs,
    events: Events,
    clock: Arc<dyn Clock>,
    /// The record as it is stored.
    pub(super) record: RunRecord,
    revision: Revision,
}

impl Journal {
    /// Opens a run's record, or makes it. A redelivered job finds the record of the attempt before; its stages are
    /// kept, so that the history of attempts stays visible.
    pub(super) async fn open(
        runs: Runs,
        events: Events,
        clock: Arc<dyn Clock>,
        job: &Job,
    ) -> Result<Self, QueueError> {
        let mut fresh = RunRecord::new(job.id().clone(), job.request().clone(), clock.now());
        fresh.state = RunState::Running;
        let (record, revision) = match runs.create(&fresh).await {
            Ok(revision) => (fresh, revision),
            Err(QueueError::Exists { .. }) => match runs.load(job.id()).await? {
                Some((mut record, revision)) => {
                    record.state = RunState::Running;
                    record.error = None;
                    record.ended_at = None;
                    let revision = runs.save(&record, revision).await?;
                    (record, revision)
                }
                None => {
                    let revision = runs.create(&fresh).await?;
                    (fresh, revision)
                }
            },
            Err(error) => return Err(error),
        };
        Ok(Self { runs, events, clock, record, revision })
    }

    /// Whether an attempt before has ended this run, so that only the acknowledgement was lost.
    pub(super) fn already_published(&self) -> bool {
        self.record.artifact.is_some() && self.record.error.is_none()
    }

    /// Does a stage's work and records its start, its end and its figures, or its error.
    pub(super) async fn stage<T, F: Serialize>(
        &mut self,
        stage: Stage,
        work: impl Future<Output = Result<(T, F), JobError>>,
    ) -> Result<T, JobError> {
        let started_at = self.clock.now();
        tracing::info!(job = %self.record.id, %stage, "stage started");
        self.record.stages.push(StageRecord {
            stage: stage.name().to_owned(),
            started_at,
            ended_at: None,
            figures: Value::Null,
            error: None,
        });
        self.save().await?;
        self.tell(stage.name(), json!({ "phase": "started" })).await;
        let result = work.await;
        let ended_at = self.clock.now();
        let seconds = ended_at.duration_since(started_at).as_secs_f64();
        let Some(entry) = self.record.stages.last_mut() else { return Err(JobError::Stopping) };
        entry.ended_at = Some(ended_at);
        let (result, detail) = match result {
            Ok((value, figures)) => {
                entry.figures = serde_json::to_value(figures).map_err(QueueError::from)?;
                let detail = json!({ "phase": "ended", "seconds": seconds, "figures": entry.figures });
                tracing::info!(job = %self.record.id, %stage, seconds, "stage ended");
                (Ok(value), detail)
            }
            Err(error) => {
                let recorded = RecordedError::new(&error);
                let detail = json!({ "phase": "failed", "seconds": seconds, "error": recorded });
                tracing::warn!(job = %self.record.id, %stage, error = recorded.message, "stage failed");
                entry.error = Some(recorded);
                (Err(error), detail)
            }
        };
        self.save().await?;
        self.tell(stage.name(), detail).await;
        result
    }

    /// Ends the run.
    pub(super) async fn end(&mut self, state: RunState, error: Option<&JobError>) -> Result<(), QueueError> {
        self.record.state = state;
        self.record.error = error.map(|error| RecordedError::new(error));
        self.record.ended_at = state.is_final().then(|| self.clock.now());
        self.save().await?;
        let detail = json!({
            "state": state,
            "verdict": self.record.verdict,
            "artifact": self.record.artifact,
            "error": self.record.error,
        });
        self.tell(ENDED, detail).await;
        Ok(())
    }

    async fn save(&mut self) -> Result<(), QueueError> {
        self.revision = self.runs.save(&self.record, self.revision).await?;
        Ok(())
    }

    async fn tell(&self, stage: &str, detail: Value) {
        if let Err(error) = self.events.publish(&self.record.id, stage, detail).await {
            tracing::warn!(job = %self.record.id, error = crate::failure::chain(&error), "an event was not published");
        }
    }
}
