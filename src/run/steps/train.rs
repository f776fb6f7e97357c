//! The train stage: computes on a thread of its own, and tells how far it is.

use futures::FutureExt;
use serde_json::json;
use tokio::sync::watch;

use autovalidate_finetune::train::{Checkpoints, Interval, Progress, Recipe, TrainError};

use crate::run::dataset::Dataset;
use crate::run::error::RunError;
use crate::run::fine_tune::{FineTuneSession, TrainedModel, TrainingSpec};
use crate::run::pipeline::Pipeline;
use crate::run::recorder::RunRecorder;
use crate::run::stage::Stage;
use crate::run::storage::CheckpointSync;
use crate::run::storage::RunDir;
use crate::run::storage::{BaseModel, blocking};
use crate::run::watchdog::RunWatchdog;

/// Trains, from the last checkpoint of an attempt before if there is one; the newest progress is published as fast as events go out.
pub(in crate::run) async fn train(
    pipeline: &Pipeline,
    recorder: &mut RunRecorder,
    recipe: &Recipe,
    base: &BaseModel,
    dataset: Dataset,
    run_dir: &RunDir,
    watchdog: &RunWatchdog,
) -> Result<TrainedModel, RunError> {
    let (report, mut progress) = watch::channel(None::<Progress>);
    let steps = progress.clone();
    let (runtime, folder, stop) = (pipeline.runtime.clone(), base.folder.clone(), watchdog.token().clone());
    let spec = TrainingSpec {
        recipe: recipe.clone(),
        synthesis: pipeline.plan.synthesis.clone(),
        hold_out: pipeline.plan.hold_out,
        templates: pipeline.plan.templates.clone(),
    };
    let checkpoints = Checkpoints {
        folder: run_dir.checkpoints(),
        interval: Interval::Time(pipeline.plan.checkpoint_every),
    };
    let mut sync = CheckpointSync::new(pipeline.checkpoints.clone(), &recorder.record.id, run_dir);
    let work = blocking(move || {
        let study = FineTuneSession::prepare(&runtime, folder, dataset, spec)?;
        let mut observer = |progress: &Progress| {
            report.send_replace(Some(*progress));
            !stop.is_cancelled()
        };
        study.train(&mut observer, Some(checkpoints))
    });
    let (events, id) = (pipeline.events.clone(), recorder.record.id.clone());
    let telling = async move {
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
            if let Err(error) = events.publish(&id, Stage::Train.name(), detail).await {
                tracing::debug!(error = crate::failure::chain(&error), "progress was not published");
            }
        }
    };
    recorder
        .stage(Stage::Train, async {
            watchdog.watch(sync.fetch().map(Ok)).await?;
            // The channel closes when the work ends, so all end together.
            let (done, (), ()) = tokio::join!(work, telling, sync.store_on_progress(steps));
            let trained = match done {
                Err(RunError::Train(TrainError::Stopped { .. })) => {
                    let why = watchdog.error();
                    // Of all that ends a training, only this one's run goes on, and perhaps elsewhere.
                    if matches!(why, RunError::Stopping) {
                        sync.store().await;
                    }
                    return Err(why);
                }
                done => done?,
            };
            let figures = json!({ "study": trained.figures, "training": trained.summary });
            Ok((trained, figures))
        })
        .await
}
