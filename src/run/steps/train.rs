//! The train stage: computes on a thread of its own, and tells how far it is.

use futures::FutureExt;
use serde_json::json;
use tokio::sync::watch;

use autovalidate_finetune::train::{Checkpoints, Interval, Progress, Recipe, TrainError};

use crate::run::dataset::Dataset;
use crate::run::error::JobError;
use crate::run::fine_tune::{Lecture, Study, Trained};
use crate::run::pipeline::Pipeline;
use crate::run::recorder::Journal;
use crate::run::stage::Stage;
use crate::run::storage::Courier;
use crate::run::storage::Workshop;
use crate::run::storage::{Base, blocking};
use crate::run::watchdog::Guard;

/// Trains, from the last checkpoint of an attempt before if there is one; the newest progress is published as fast as events go out.
pub(in crate::run) async fn train(
    pipeline: &Pipeline,
    journal: &mut Journal,
    recipe: &Recipe,
    base: &Base,
    dataset: Dataset,
    workshop: &Workshop,
    guard: &Guard,
) -> Result<Trained, JobError> {
    let (report, mut progress) = watch::channel(None::<Progress>);
    let steps = progress.clone();
    let (runtime, folder, stop) = (pipeline.runtime.clone(), base.folder.clone(), guard.token().clone());
    let lecture = Lecture {
        recipe: recipe.clone(),
        synthesis: pipeline.plan.synthesis.clone(),
        hold_out: pipeline.plan.hold_out,
        templates: pipeline.plan.templates.clone(),
    };
    let checkpoints = Checkpoints {
        folder: workshop.checkpoints(),
        interval: Interval::Time(pipeline.plan.checkpoint_every),
    };
    let mut courier = Courier::new(pipeline.checkpoints.clone(), &journal.record.id, workshop);
    let work = blocking(move || {
        let study = Study::prepare(&runtime, folder, dataset, lecture)?;
        let mut observer = |progress: &Progress| {
            report.send_replace(Some(*progress));
            !stop.is_cancelled()
        };
        study.train(&mut observer, Some(checkpoints))
    });
    let (events, id) = (pipeline.events.clone(), journal.record.id.clone());
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
    journal
        .stage(Stage::Train, async {
            guard.watch(courier.fetch().map(Ok)).await?;
            // The channel closes when the work ends, so all end together.
            let (done, (), ()) = tokio::join!(work, telling, courier.carry(steps));
            let trained = match done {
                Err(JobError::Train(TrainError::Stopped { .. })) => {
                    let why = guard.error();
                    // Of all that ends a training, only this one's run goes on, and perhaps elsewhere.
                    if matches!(why, JobError::Stopping) {
                        courier.deliver().await;
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
