//! Train: trains on a separate thread, and publishes the progress.

use std::time::Duration;

use futures::FutureExt;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use autovalidate_finetune::model::TokenizerChoice;
use autovalidate_finetune::train::{Checkpoints, Interval, Observer, Progress, Recipe, TrainError};

use crate::broker::{Events, JobId};
use crate::run::dataset::Dataset;
use crate::run::error::RunError;
use crate::run::fine_tune::{FineTuneSession, TrainedModel, TrainingSpec, training_outline};
use crate::run::metrics::{CheckpointEvent, RunMetrics};
use crate::run::stage::Stage;
use crate::run::storage::{BaseModel, CheckpointSync, blocking};

use super::{Step, StepContext, StepOutput};

/// Trains a base model on a dataset, from the last checkpoint of an earlier attempt if there is
/// one.
pub(in crate::run) struct Train<'a> {
    pub(in crate::run) tokenizer: TokenizerChoice,
    pub(in crate::run) recipe: &'a Recipe,
    pub(in crate::run) base: &'a BaseModel,
    pub(in crate::run) dataset: Dataset,
}

impl Step for Train<'_> {
    const STAGE: Stage = Stage::Train;
    type Output = TrainedModel;

    async fn perform(self, context: &StepContext<'_>) -> Result<StepOutput<TrainedModel>, RunError> {
        let StepContext { pipeline, job, run_dir, watchdog, .. } = context;
        let plan = &pipeline.plan;
        let (report, progress) = watch::channel(None::<Progress>);
        let (runtime, folder, stop) =
            (pipeline.runtime.clone(), self.base.folder.clone(), watchdog.token().clone());
        let spec = TrainingSpec {
            tokenizer: self.tokenizer,
            recipe: self.recipe.clone(),
            synthesis: plan.synthesis.clone(),
            hold_out: plan.hold_out,
            templates: plan.templates.clone(),
        };
        let checkpoints =
            Checkpoints { folder: run_dir.checkpoints(), interval: Interval::Time(plan.checkpoint_every) };
        let dataset = self.dataset;
        let mut observer =
            TrainingObserver { report, stop: stop.clone(), metrics: pipeline.metrics.clone(), last: None };
        let work = blocking(move || {
            let session = FineTuneSession::prepare(&runtime, folder, dataset, spec, || !stop.is_cancelled())?;
            session.train(&mut observer, Some(checkpoints))
        });
        let mut sync =
            CheckpointSync::new(pipeline.checkpoints.clone(), job, run_dir, pipeline.metrics.clone());
        watchdog.watch(sync.fetch().map(Ok)).await?;
        let progress_events = publish_progress(pipeline.events.clone(), job.clone(), progress.clone());
        // The progress channel closes when training ends, so all three futures end together.
        let (done, (), ()) = tokio::join!(work, progress_events, sync.store_on_progress(progress));
        let trained = match done {
            Err(RunError::Train(TrainError::Stopped { .. })) => {
                let reason = watchdog.error();
                // When the worker stops, the run continues later, perhaps on another machine, and
                // needs the checkpoint. A cancelled or overtaken run does not continue here.
                if matches!(reason, RunError::Stopping) {
                    sync.store().await;
                }
                return Err(reason);
            }
            done => done?,
        };
        let figures = json!({ "study": trained.figures, "training": training_outline(&trained.summary) });
        StepOutput::new(trained, figures)
    }
}

/// Observer of a training: passes the progress on, counts, and stops the training on request.
struct TrainingObserver {
    report: watch::Sender<Option<Progress>>,
    stop: CancellationToken,
    metrics: RunMetrics,
    /// Time spent in the loop up to the step before; `None` before the first step of this process.
    last: Option<Duration>,
}

impl Observer for TrainingObserver {
    fn step(&mut self, progress: &Progress) -> bool {
        let since = self.last.replace(progress.elapsed).map(|last| progress.elapsed.saturating_sub(last));
        self.metrics.step(progress, since);
        self.report.send_replace(Some(*progress));
        !self.stop.is_cancelled()
    }

    fn checkpoint_written(&mut self, _step: usize) {
        self.metrics.checkpoint(CheckpointEvent::Written);
    }
}

/// Publishes the latest progress as fast as events can be published, until training ends.
async fn publish_progress(events: Events, job: JobId, mut progress: watch::Receiver<Option<Progress>>) {
    while progress.changed().await.is_ok() {
        let Some(now) = *progress.borrow_and_update() else { continue };
        let detail = json!({
            "phase": "progress",
            "step": now.step,
            "steps": now.steps,
            "epoch": now.epoch,
            "loss": now.loss,
            "learning_rate": now.learning_rate,
            "seconds": now.elapsed.as_secs_f64(),
        });
        if let Err(error) = events.publish(&job, Stage::Train.name(), detail).await {
            tracing::debug!(error = crate::failure::chain(&error), "training progress was not published");
        }
    }
}
