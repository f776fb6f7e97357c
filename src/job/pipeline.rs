//! A run from a job request to a published model: walks the stages and keeps the journal.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::correction::Templates;
use crate::evaluate::{HoldOut, Policy};
use crate::hub::{Extra, Published, ReleaseName, Repository, Stamp, Upload};
use crate::onnx::Runtime;
use crate::queue::{Clock, Corrections, Events, Job, JobId, JobRequest, PublishedArtifact, RunState, Runs};
use crate::train::{Progress, Recipe, TrainError};

use super::base::{Base, Shelf, blocking};
use super::dataset::Dataset;
use super::journal::Journal;
use super::package::{Papers, package};
use super::study::{Study, Trained};
use super::{JobError, Stage};

/// What a run needs beside the job.
pub struct Pipeline {
    /// The runtime to compute with.
    pub runtime: Runtime,
    /// Where models come from and go.
    pub repository: Repository,
    /// The pairs.
    pub corrections: Corrections,
    /// Run records.
    pub runs: Runs,
    /// Events.
    pub events: Events,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How runs are done.
    pub plan: Plan,
}

/// How runs are done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The recipe, where a request doesn't say otherwise.
    pub recipe: Recipe,
    /// What is held out.
    pub hold_out: HoldOut,
    /// What the model sees of a text.
    pub templates: Templates,
    /// How the gate judges.
    pub gate: Policy,
    /// Folder or Hub name of the model to start from when nothing has been released.
    pub base_model: String,
    /// Where runs keep their files.
    pub data_dir: PathBuf,
    /// Whether a repository made by us is private.
    pub private_repository: bool,
}

/// How a run ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The model was published.
    Published(PublishedArtifact),
    /// The gate kept the model back.
    KeptBack,
    /// Everything but publishing was done, as asked.
    DryRun,
}

/// A run that ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// The last message of the stream that was trained on.
    pub covered: u64,
}

impl Pipeline {
    /// Runs a job to its end, or to the first error. The run's record holds both.
    ///
    /// # Errors
    /// [`JobError`]; [`JobError::Stopping`] when `cancel` came first.
    pub async fn run(&self, job: &Job, cancel: &CancellationToken) -> Result<Finished, JobError> {
        let mut journal =
            Journal::open(self.runs.clone(), self.events.clone(), Arc::clone(&self.clock), job).await?;
        if journal.already_published() {
            let artifact = journal.record.artifact.clone();
            let covered = journal.record.last_sequence.unwrap_or_default();
            journal.end(RunState::Done, None).await?;
            let outcome = artifact.map_or(Outcome::KeptBack, Outcome::Published);
            return Ok(Finished { outcome, covered });
        }
        let workshop = Workshop::open(&self.plan.data_dir, job.id())?;
        let walked = self.walk(&mut journal, job.request(), &workshop, cancel).await;
        let cleaned =
            journal.stage(Stage::CleanUp, async { Ok(((), json!({ "removed": workshop.remove()? }))) }).await;
        let finished = match (walked, cleaned) {
            (Ok(finished), Ok(())) => Ok(finished),
            (Ok(_), Err(error)) | (Err(error), _) => Err(error),
        };
        match &finished {
            Ok(_) => journal.end(RunState::Done, None).await?,
            Err(error @ JobError::Stopping) => journal.end(RunState::Queued, Some(error)).await?,
            Err(error) => journal.end(RunState::Failed, Some(error)).await?,
        }
        finished
    }

    async fn walk(
        &self,
        journal: &mut Journal,
        request: &JobRequest,
        workshop: &Workshop,
        cancel: &CancellationToken,
    ) -> Result<Finished, JobError> {
        let recipe = self.recipe(request)?;
        journal.record.settings = serde_json::to_value(&recipe).map_err(crate::queue::QueueError::from)?;
        let shelf = Shelf {
            repository: &self.repository,
            folder: self.plan.data_dir.join("models"),
            fallback: &self.plan.base_model,
        };
        let private = self.plan.private_repository;
        let base = journal
            .stage(Stage::LoadBase, async {
                self.repository.create_if_missing(private).await?;
                let base = stoppable(cancel, shelf.base(request.base_model.as_deref())).await?;
                let figures = json!({ "model": base.label, "origin": base.origin });
                Ok((base, figures))
            })
            .await?;
        journal.record.base_model = Some(base.label.clone());

        // What has arrived when a run begins is what it learns from, whatever set it off.
        let covered = self.corrections.last_sequence().await?;
        let dataset = journal
            .stage(Stage::FetchData, async {
                let snapshot =
                    stoppable(cancel, async { Ok(self.corrections.snapshot(covered).await?) }).await?;
                let (hold_out, templates) = (self.plan.hold_out, self.plan.templates.clone());
                let quarantined = self.corrections.quarantined_counts().await?;
                let rows = snapshot.rows.into_iter().map(|(_, row)| row).collect();
                let released = snapshot.released;
                let mut dataset =
                    blocking(move || Ok(Dataset::with_released(rows, &released, &hold_out, &templates)))
                        .await?;
                dataset.summary.quarantined = quarantined;
                let figures = dataset.summary.clone();
                Ok((dataset, figures))
            })
            .await?;
        let summary = dataset.summary.clone();
        journal.record.last_sequence = Some(covered);
        journal.record.row_count = Some(summary.rows as u64);
        journal.record.dataset_hash = Some(summary.hash.clone());

        let mut trained = self.train(journal, &recipe, &base, dataset, cancel).await?;
        let gate = self.plan.gate;
        let (trained_back, report) = journal
            .stage(Stage::Evaluate, async {
                blocking(move || {
                    let report = trained.evaluate(&gate)?;
                    let figures = report.clone();
                    Ok(((trained, report), figures))
                })
                .await
            })
            .await?;
        trained = trained_back;
        journal.record.metrics = serde_json::to_value(&report).map_err(crate::queue::QueueError::from)?;
        journal.record.verdict = Some(report.gate.verdict.name().to_owned());
        let publish = journal
            .stage(Stage::Gate, async {
                let publish = report.gate.publish || request.force;
                let figures = json!({ "verdict": report.gate.verdict, "publish": publish, "forced": publish && !report.gate.publish });
                Ok((publish, figures))
            })
            .await?;
        if !publish {
            return Ok(Finished { outcome: Outcome::KeptBack, covered });
        }

        let releases = self.repository.releases().await?;
        let stamp = Stamp::next(self.clock.now(), releases.iter().map(|release| &release.name))
            .ok_or(JobError::NoNewerName)?;
        let release = ReleaseName::from(stamp);
        let id = journal.record.id.clone();
        let ready = journal
            .stage(Stage::Package, async {
                let (runtime, folder) = (self.runtime.clone(), workshop.folder.clone());
                let (job, repo) = (id.to_string(), self.repository.name().clone());
                let (base, recipe, name, made_at) =
                    (base.clone(), recipe.clone(), release.clone(), self.clock.now());
                blocking(move || {
                    let papers = Papers {
                        job: &job,
                        release: &name,
                        repo: &repo,
                        made_at,
                        base: &base,
                        dataset: &summary,
                        last_sequence: Some(covered),
                        recipe: &recipe,
                        report: &report,
                    };
                    let ready = package(&runtime, &mut trained, &papers, &folder)?;
                    let figures = ready.figures.clone();
                    Ok((ready, figures))
                })
                .await
            })
            .await?;
        if request.dry_run {
            return Ok(Finished { outcome: Outcome::DryRun, covered });
        }
        let published = journal
            .stage(Stage::Publish, async {
                let extras = vec![Extra { path: "README.md".to_owned(), content: ready.card.into() }];
                let summary = format!("Add {}", release.as_str());
                let upload = Upload { release, archive: ready.zip, extras, summary, progress: None };
                let published = artifact(&self.repository.publish(upload).await?);
                let figures = published.clone();
                Ok((published, figures))
            })
            .await?;
        journal.record.artifact = Some(published.clone());
        shelf.keep_only(base.folder.path())?;
        Ok(Finished { outcome: Outcome::Published(published), covered })
    }

    /// The settings of a run: the configured ones, and what the request says otherwise.
    fn recipe(&self, request: &JobRequest) -> Result<Recipe, JobError> {
        let mut recipe = self.plan.recipe.clone();
        if let Some(epochs) = request.epochs {
            recipe.epochs = epochs as usize;
        }
        if let Some(batch_size) = request.batch_size {
            recipe.batch_size = batch_size as usize;
        }
        if let Some(learning_rate) = request.learning_rate {
            recipe.learning_rate = learning_rate as f32;
        }
        recipe.check()?;
        Ok(recipe)
    }

    /// Trains on a thread of its own; the newest progress is published as fast as events go out.
    async fn train(
        &self,
        journal: &mut Journal,
        recipe: &Recipe,
        base: &Base,
        dataset: Dataset,
        cancel: &CancellationToken,
    ) -> Result<Trained, JobError> {
        let (report, mut progress) = watch::channel(None::<Progress>);
        let (runtime, templates) = (self.runtime.clone(), self.plan.templates.clone());
        let (folder, recipe, stop) = (base.folder.clone(), recipe.clone(), cancel.clone());
        let work = blocking(move || {
            let study = Study::prepare(&runtime, folder, dataset, &templates)?;
            let figures = study.figures.clone();
            let trained = study.train(&recipe, &mut |progress: &Progress| {
                report.send_replace(Some(*progress));
                !stop.is_cancelled()
            });
            match trained {
                Err(JobError::Train(TrainError::Stopped { .. })) => Err(JobError::Stopping),
                Err(error) => Err(error),
                Ok(trained) => Ok((trained, figures)),
            }
        });
        let (events, id) = (self.events.clone(), journal.record.id.clone());
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
                // The channel closes when the work ends, so both end together.
                let (done, ()) = tokio::join!(work, telling);
                let (trained, study) = done?;
                let figures = json!({ "study": study, "training": trained.summary });
                Ok((trained, figures))
            })
            .await
    }
}

fn artifact(published: &Published) -> PublishedArtifact {
    PublishedArtifact {
        path: published.path.clone(),
        commit: published.commit.as_str().to_owned(),
        sha256: published.sha256.to_string(),
        size: published.size,
    }
}

/// Work that is given up when the worker stops.
async fn stoppable<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, JobError>>,
) -> Result<T, JobError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(JobError::Stopping),
        done = work => done,
    }
}

/// The folder a run writes into.
struct Workshop {
    folder: PathBuf,
}

impl Workshop {
    fn open(data_dir: &std::path::Path, job: &JobId) -> Result<Self, JobError> {
        let folder = data_dir.join("jobs").join(job.as_str());
        // What an attempt before left half written is of no use.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(JobError::file("remove", &folder))?;
        }
        std::fs::create_dir_all(&folder).map_err(JobError::file("make", &folder))?;
        Ok(Self { folder })
    }

    fn remove(&self) -> Result<bool, JobError> {
        std::fs::remove_dir_all(&self.folder).map_err(JobError::file("remove", &self.folder))?;
        Ok(true)
    }
}
