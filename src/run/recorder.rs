//! What a run has done so far: the record in the bucket, and the events beside it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::{Value, json};

use crate::broker::{
    Clock, ENDED, Events, Job, QueueError, RecordedError, Revision, RunRecord, RunState, Runs, StageRecord,
};
use crate::failure::chain;

use crate::run::error::RunError;
use crate::run::stage::Stage;

/// How often a record is saved before the broker's trouble becomes the run's, and the pause in between. Together they
/// outlast a cluster's choice of a new leader.
const SAVES: u32 = 12;
const SAVE_PAUSE: Duration = Duration::from_millis(500);

/// Keeps a run's record and tells the world. An event that can't be published is logged and forgotten: the
/// record is what counts.
pub(in crate::run) struct RunRecorder {
    runs: Runs,
    events: Events,
    clock: Arc<dyn Clock>,
    /// The record, with what is to be saved next.
    pub(in crate::run) record: RunRecord,
    revision: Revision,
}

/// What a job's record says when a worker takes it up.
pub(in crate::run) enum Opened {
    /// There is work to do.
    Ready(Box<RunRecorder>),
    /// The run has ended before; only the broker doesn't know yet.
    Ended(Box<RunRecord>),
}

impl RunRecorder {
    /// Takes a run up: from now on, whoever had it before can't save its record any more. A redelivered job finds
    /// the record of the attempt before; its stages are kept, so that the history of attempts stays visible.
    pub(in crate::run) async fn open(
        runs: Runs,
        events: Events,
        clock: Arc<dyn Clock>,
        job: &Job,
    ) -> Result<Opened, QueueError> {
        loop {
            let (mut record, revision) = match runs.load(job.id()).await? {
                Some(found) => found,
                None => {
                    let fresh = RunRecord::new(job.id().clone(), job.request().clone(), clock.now());
                    match runs.create(&fresh).await {
                        Ok(revision) => (fresh, revision),
                        Err(QueueError::Exists { .. }) => continue,
                        Err(error) => return Err(error),
                    }
                }
            };
            if record.state.is_final() {
                return Ok(Opened::Ended(Box::new(record)));
            }
            if record.state == RunState::Running {
                // The attempt before ended without a word: killed, out of memory, cut off.
                record.failures += 1;
            }
            record.attempts += 1;
            record.state = RunState::Running;
            record.ended_at = None;
            match runs.save(&record, revision).await {
                Ok(revision) => {
                    return Ok(Opened::Ready(Box::new(Self { runs, events, clock, record, revision })));
                }
                // Somebody cancelled it, or took it up, at this moment: look again.
                Err(QueueError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Does a stage's work and records its start, its end and its figures, or its error. Boxed: work on the network
    /// makes large futures.
    pub(in crate::run) fn stage<'a, T: Send + 'a, F: Serialize + Send + 'a>(
        &'a mut self,
        stage: Stage,
        work: impl Future<Output = Result<(T, F), RunError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, RunError>> {
        Box::pin(self.walk(stage, Box::pin(work)))
    }

    async fn walk<T, F: Serialize>(
        &mut self,
        stage: Stage,
        work: impl Future<Output = Result<(T, F), RunError>>,
    ) -> Result<T, RunError> {
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
        self.events.tell(&self.record.id, stage.name(), json!({ "phase": "started" })).await;
        let result = work.await;
        let ended_at = self.clock.now();
        let seconds = ended_at.duration_since(started_at).as_secs_f64();
        let Some(entry) = self.record.stages.last_mut() else { return Err(RunError::Overtaken) };
        entry.ended_at = Some(ended_at);
        let (result, detail) = match result {
            Ok((value, figures)) => {
                entry.figures = serde_json::to_value(figures).map_err(QueueError::from)?;
                let detail = json!({ "phase": "ended", "seconds": seconds, "figures": entry.figures });
                tracing::info!(job = %self.record.id, %stage, seconds, "stage ended");
                (Ok(value), detail)
            }
            // Nobody's fault, and an overtaken worker has nothing to say any more.
            Err(error) if error.is_interruption() => return Err(error),
            Err(error) => {
                let recorded = RecordedError::new(&error);
                let detail = json!({ "phase": "failed", "seconds": seconds, "error": recorded });
                tracing::warn!(job = %self.record.id, %stage, error = recorded.message, "stage failed");
                entry.error = Some(recorded);
                (Err(error), detail)
            }
        };
        self.save().await?;
        self.events.tell(&self.record.id, stage.name(), detail).await;
        result
    }

    /// Ends the run, or this attempt.
    pub(in crate::run) async fn end(
        &mut self,
        state: RunState,
        error: Option<&RunError>,
    ) -> Result<(), RunError> {
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
        self.events.tell(&self.record.id, ENDED, detail).await;
        Ok(())
    }

    /// Saves the record, through a broker that is away for a moment and answers that get lost.
    ///
    /// # Errors
    /// [`RunError::Overtaken`] when another worker, or nobody any more, has the run; else what the broker says.
    pub(in crate::run) async fn save(&mut self) -> Result<(), RunError> {
        let mut tries = 1;
        loop {
            let error = match Box::pin(self.runs.save(&self.record, self.revision)).await {
                Ok(revision) => {
                    self.revision = revision;
                    return Ok(());
                }
                Err(error) => error,
            };
            let conflict = matches!(error, QueueError::Conflict { .. });
            match Box::pin(self.runs.load(&self.record.id)).await {
                // Saved, and the answer got lost.
                Ok(Some((stored, revision))) if stored == self.record => {
                    self.revision = revision;
                    return Ok(());
                }
                Ok(Some((stored, _))) if stored.attempts != self.record.attempts => {
                    return Err(RunError::Overtaken);
                }
                // Readers may be behind for a moment; a conflict never is.
                Ok(_) if conflict => return Err(RunError::Overtaken),
                Ok(_) | Err(_) if tries < SAVES => {}
                Ok(_) | Err(_) => return Err(error.into()),
            }
            tracing::warn!(job = %self.record.id, tries, error = chain(&error), "a run's record is saved again");
            tries += 1;
            tokio::time::sleep(SAVE_PAUSE).await;
        }
    }
}
