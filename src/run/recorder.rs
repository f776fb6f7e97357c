//! The recorder of a run: saves the run's record to its bucket, and publishes events about its
//! progress.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::{Instrument, Span};

use crate::broker::{
    BrokerError, Clock, ENDED, Events, Job, MAX_MESSAGE, RecordedError, Revision, RunRecord, RunState, Runs,
    StageRecord,
};
use crate::failure::chain;
use crate::trace_context::STATUS;

use super::error::RunError;
use super::metrics::{RunMetrics, RunOutcome, StageOutcome};
use super::pipeline::Pipeline;
use super::stage::Stage;
use super::steps::{Step, StepContext, StepOutput};

/// Number of tries to save a record before the broker's error becomes the run's.
const SAVES: u32 = 12;
/// Pause between two tries. All tries together outlast a cluster's election of a new leader.
const SAVE_PAUSE: Duration = Duration::from_millis(500);

/// Keeps a run's record, and publishes events about the run. An event that can't be published is
/// logged and dropped: the record is authoritative.
pub(in crate::run) struct RunRecorder {
    runs: Runs,
    events: Events,
    clock: Arc<dyn Clock>,
    metrics: RunMetrics,
    /// The record, with all changes that the next save writes.
    pub(in crate::run) record: RunRecord,
    revision: Revision,
}

/// State of a run when a worker takes up its job.
pub(in crate::run) enum Opened {
    /// The run has work left.
    Ready(Box<RunRecorder>),
    /// An earlier attempt has ended the run, but did not settle its job with the broker.
    Ended(Box<RunRecord>),
}

impl RunRecorder {
    /// Takes up a run. From now on, the worker that had the run before can't save its record. A
    /// redelivered job finds the record of the earlier attempt. The stages in that record stay, so
    /// that the history of attempts remains visible.
    pub(in crate::run) async fn open(pipeline: &Pipeline, job: &Job) -> Result<Opened, BrokerError> {
        let (runs, events) = (pipeline.runs.clone(), pipeline.events.clone());
        let (clock, metrics) = (Arc::clone(&pipeline.clock), pipeline.metrics.clone());
        loop {
            let (mut record, revision) = match runs.load(job.id()).await? {
                Some(found) => found,
                None => {
                    let fresh = RunRecord::new(job.id().clone(), job.request().clone(), clock.now());
                    match runs.create(&fresh).await {
                        Ok(revision) => (fresh, revision),
                        Err(BrokerError::Exists { .. }) => continue,
                        Err(error) => return Err(error),
                    }
                }
            };
            if record.state.is_final() {
                return Ok(Opened::Ended(Box::new(record)));
            }
            if record.state == RunState::Running {
                // The earlier attempt ended without recording an error: killed, out of memory, or
                // cut off.
                record.failures += 1;
            }
            record.attempts += 1;
            record.state = RunState::Running;
            record.ended_at = None;
            match runs.save(&record, revision).await {
                Ok(revision) => {
                    let recorder = Self { runs, events, clock, metrics, record, revision };
                    return Ok(Opened::Ready(Box::new(recorder)));
                }
                // At this moment, a person cancelled the run, or another worker took it up: read
                // the record again.
                Err(BrokerError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Performs a step and records its start, its end and its figures, or its error. The future is
    /// boxed because steps on the network make large futures.
    pub(in crate::run) fn perform<'a, S: Step + 'a>(
        &'a mut self,
        step: S,
        context: &'a StepContext<'_>,
    ) -> BoxFuture<'a, Result<S::Output, RunError>> {
        let span = S::STAGE.span(&self.record.id);
        let staged = async move {
            step.announce(&mut self.record);
            let started_at = self.start_stage(S::STAGE).await?;
            let result = Box::pin(step.perform(context)).await;
            self.end_stage::<S>(started_at, result).await
        };
        Box::pin(staged.instrument(span))
    }

    async fn start_stage(&mut self, stage: Stage) -> Result<Timestamp, RunError> {
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
        self.events.publish_best_effort(&self.record.id, stage.name(), json!({ "phase": "started" })).await;
        Ok(started_at)
    }

    async fn end_stage<S: Step>(
        &mut self,
        started_at: Timestamp,
        result: Result<StepOutput<S::Output>, RunError>,
    ) -> Result<S::Output, RunError> {
        let stage = S::STAGE;
        let ended_at = self.clock.now();
        let seconds = ended_at.duration_since(started_at).as_secs_f64();
        self.metrics.stage_ended(stage, StageOutcome::of(&result), seconds);
        let Some(entry) = self.record.stages.last_mut() else { return Err(RunError::Overtaken) };
        entry.ended_at = Some(ended_at);
        let (result, detail) = match result {
            Ok(StepOutput { output, figures }) => {
                let detail = json!({ "phase": "ended", "seconds": seconds, "figures": figures });
                entry.figures = figures;
                S::record(&output, &mut self.record)?;
                tracing::info!(job = %self.record.id, %stage, seconds, "stage ended");
                (Ok(output), detail)
            }
            // An interruption is not a failure of the stage, and an overtaken worker can't save the
            // record.
            Err(error) if error.interruption().is_some() => return Err(error),
            Err(error) => {
                let recorded = RecordedError::new(&error);
                Span::current().record(STATUS, "ERROR");
                let detail = json!({ "phase": "failed", "seconds": seconds, "error": recorded });
                tracing::warn!(job = %self.record.id, %stage, error = recorded.message, "stage failed");
                entry.error = Some(recorded);
                (Err(error), detail)
            }
        };
        self.save().await?;
        self.events.publish_best_effort(&self.record.id, stage.name(), detail).await;
        result
    }

    /// Records and publishes the end of the run, or of this attempt.
    pub(in crate::run) async fn end(
        &mut self,
        state: RunState,
        error: Option<RecordedError>,
    ) -> Result<(), RunError> {
        self.record.state = state;
        self.record.error = error;
        self.record.ended_at = state.is_final().then(|| self.clock.now());
        self.save().await?;
        if let Some(outcome) = RunOutcome::of(&self.record) {
            self.metrics.run_ended(outcome);
        }
        let detail = json!({
            "state": state,
            "verdict": self.record.verdict,
            "artifact": self.record.artifact,
            "error": self.record.error,
        });
        self.events.publish_best_effort(&self.record.id, ENDED, detail).await;
        Ok(())
    }

    /// Saves the record, even when the broker is briefly unavailable or its answer is lost. A record
    /// that is too large for the server is saved without its largest figures.
    ///
    /// # Errors
    /// [`RunError::Overtaken`] when another worker has taken up the run or the record is gone,
    /// otherwise the broker's error.
    pub(in crate::run) async fn save(&mut self) -> Result<(), RunError> {
        let mut tries = 1;
        if self.record.fit(MAX_MESSAGE) {
            tracing::info!(job = %self.record.id, "the largest figures were left out of a run's record");
        }
        loop {
            let error = match Box::pin(self.runs.save(&self.record, self.revision)).await {
                Ok(revision) => {
                    self.revision = revision;
                    return Ok(());
                }
                Err(error) => error,
            };
            if matches!(error, BrokerError::TooLarge { .. }) {
                // The same record is refused each time, and so is every larger one.
                if self.record.halve() {
                    tracing::warn!(job = %self.record.id, error = chain(&error), "saving a run's record without its largest figures");
                    continue;
                }
                return Err(error.into());
            }
            let conflict = matches!(error, BrokerError::Conflict { .. });
            match Box::pin(self.runs.load(&self.record.id)).await {
                // This try or an earlier one saved the record, and the broker's answer was lost.
                Ok(Some((stored, revision))) if stored == self.record => {
                    self.revision = revision;
                    return Ok(());
                }
                Ok(Some((stored, _))) if stored.attempts != self.record.attempts => {
                    return Err(RunError::Overtaken);
                }
                // A read may be briefly out of date; a conflict never is.
                Ok(_) if conflict => return Err(RunError::Overtaken),
                Ok(_) | Err(_) if tries < SAVES => {}
                Ok(_) | Err(_) => return Err(error.into()),
            }
            tracing::warn!(job = %self.record.id, tries, error = chain(&error), "a run's record was not saved; trying again");
            tries += 1;
            tokio::time::sleep(SAVE_PAUSE).await;
        }
    }
}
