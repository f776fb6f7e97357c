//! The walk of a run from its job request to a published model: stage after stage, keeping the recorder.
//!
//! Every stage looks first at what an attempt before has recorded: the base model's name, the rows' hash, the release's
//! name, the finished zip. Only one worker can save the record, and what is sent to the Hub is written down
//! there before, so that of several attempts, even at the same time, one model comes out.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::broker::{Job, JobRequest, RunRecord, RunState};
use crate::failure::{Failure, RetryDirective, chain};
use autovalidate_finetune::train::Recipe;

use crate::run::error::RunError;
use crate::run::pipeline::{AttemptEnding, FinishedRun, Outcome, Pipeline};
use crate::run::provenance::Lineage;
use crate::run::recorder::{Opened, RunRecorder};
use crate::run::stage::Stage;
use crate::run::steps::RunPapers;
use crate::run::steps::train;
use crate::run::steps::{PublishOutcome, publish};
use crate::run::storage::RunDir;
use crate::run::storage::remove_stored_checkpoint;
use crate::run::storage::{MODELS, ModelCache, blocking};
use crate::run::watchdog::RunWatchdog;

/// How often a run is tried when what failed may pass, and when attempts end without a word.
const ATTEMPTS: u64 = 5;
/// How often an attempt judges its model, when each time another one has become live before it was published.
const JUDGMENTS: u32 = 3;

impl Pipeline {
    /// Works on a job until it has ended, fails, or must stop. The run's record holds how.
    pub async fn run(&self, job: &Job, stop: &CancellationToken) -> AttemptEnding {
        let opened =
            RunRecorder::open(self.runs.clone(), self.events.clone(), Arc::clone(&self.clock), job).await;
        let mut recorder = match opened {
            Ok(Opened::Ready(recorder)) => recorder,
            Ok(Opened::Ended(record)) => return ended_before(*record),
            Err(error) => {
                tracing::warn!(job = %job.id(), error = chain(&error), "a run's record can't be opened");
                return AttemptEnding::Again { failures: job.deliveries() };
            }
        };
        let watchdog = RunWatchdog::new(self.runs.clone(), &recorder.record, stop);
        let walked = match recorder.record.failures {
            failures if failures >= ATTEMPTS => Err(RunError::DiedTooOften { attempts: failures }),
            _ => Box::pin(self.walk(&mut recorder, job.request(), &watchdog)).await,
        };
        self.close(&mut recorder, walked).await.unwrap_or_else(|error| {
            tracing::warn!(job = %job.id(), error = chain(&error), "a run's record can't be closed");
            match error {
                RunError::Overtaken => AttemptEnding::Overtaken,
                _ => AttemptEnding::Again { failures: recorder.record.failures + 1 },
            }
        })
    }

    /// Writes down how an attempt ended.
    async fn close(
        &self,
        recorder: &mut RunRecorder,
        walked: Result<FinishedRun, RunError>,
    ) -> Result<AttemptEnding, RunError> {
        let error = match walked {
            Ok(finished) => {
                recorder.end(finished.state(), None).await?;
                return Ok(AttemptEnding::Finished(finished));
            }
            Err(error) => error,
        };
        match &error {
            RunError::Overtaken => Ok(AttemptEnding::Overtaken),
            RunError::Stopping => {
                recorder.end(RunState::Queued, None).await?;
                Ok(AttemptEnding::Again { failures: 0 })
            }
            // The model waits in its run_dir for a person to decide; its rows count as used.
            RunError::RolledBack { .. } => {
                recorder.end(RunState::Refused, Some(&error)).await?;
                tracing::warn!(job = %recorder.record.id, error = chain(&error), advice = error.advice(), "not published");
                let covered = recorder.record.last_sequence.unwrap_or_default();
                Ok(AttemptEnding::Finished(FinishedRun { outcome: Outcome::KeptBack, covered }))
            }
            RunError::Cancelled => {
                self.run_dir(&recorder.record)?.remove(SystemTime::now())?;
                remove_stored_checkpoint(self.checkpoints.as_ref(), &recorder.record.id, self.clock.now())
                    .await;
                recorder.end(RunState::Cancelled, None).await?;
                Ok(AttemptEnding::Closed(RunState::Cancelled))
            }
            _ => {
                recorder.record.failures += 1;
                let failures = recorder.record.failures;
                let again = error.directive() == RetryDirective::Retry && failures < ATTEMPTS;
                let state = if again { RunState::Queued } else { RunState::Failed };
                recorder.end(state, Some(&error)).await?;
                let (advice, job) = (error.advice(), &recorder.record.id);
                tracing::warn!(%job, failures, again, error = chain(&error), advice, "an attempt failed");
                Ok(if again { AttemptEnding::Again { failures } } else { AttemptEnding::Closed(state) })
            }
        }
    }

    fn run_dir(&self, record: &RunRecord) -> Result<RunDir, RunError> {
        RunDir::open(&self.plan.data_dir, &record.id, record.attempts)
    }

    async fn walk(
        &self,
        recorder: &mut RunRecorder,
        request: &JobRequest,
        watchdog: &RunWatchdog,
    ) -> Result<FinishedRun, RunError> {
        let run_dir = self.run_dir(&recorder.record)?;
        let covered = match recorder.record.last_sequence {
            // Data was fetched before: what has arrived since counts for the next run.
            Some(covered) if recorder.record.dataset_hash.is_some() => covered,
            // What has arrived when a run begins is what it learns from, whatever set it off.
            _ => self.corrections.last_sequence().await?,
        };
        publish::begin(self, recorder, watchdog).await?;
        let sent = match request.dry_run {
            true => PublishOutcome::Nothing,
            false => Box::pin(publish::resume(self, recorder, &run_dir, watchdog)).await?,
        };
        let outcome = match sent {
            PublishOutcome::Published(artifact) => Outcome::Published(artifact),
            PublishOutcome::Nothing | PublishOutcome::Outdated(_) => {
                Box::pin(self.make(recorder, request, &run_dir, covered, watchdog)).await?
            }
        };
        let id = recorder.record.id.clone();
        recorder
            .stage(Stage::CleanUp, async {
                let removed = blocking(move || run_dir.remove(SystemTime::now())).await?;
                remove_stored_checkpoint(self.checkpoints.as_ref(), &id, self.clock.now()).await;
                Ok(((), json!({ "workshops": removed })))
            })
            .await?;
        Ok(FinishedRun { outcome, covered })
    }

    /// From the base model to the published zip.
    async fn make(
        &self,
        recorder: &mut RunRecorder,
        request: &JobRequest,
        run_dir: &RunDir,
        covered: u64,
        watchdog: &RunWatchdog,
    ) -> Result<Outcome, RunError> {
        let recipe = self.recipe(request)?;
        recorder.record.settings = serde_json::to_value(&recipe).map_err(crate::broker::QueueError::from)?;
        let cache = ModelCache {
            repository: &self.repository,
            folder: self.plan.data_dir.join(MODELS),
            fallback: &self.plan.base_model,
        };
        let (base, ancestor) = self.load_base(recorder, request, &cache, watchdog).await?;
        let dataset = self.fetch_data(recorder, covered, watchdog).await?;
        let lineage = Lineage {
            base: ancestor,
            last_sequence: Some(covered),
            recipe: recipe.clone(),
            synthesis: self.plan.synthesis.clone(),
            hold_out: self.plan.hold_out,
            templates: self.plan.templates.clone(),
            threads: self.runtime.threads(),
            device: self.runtime.device(),
            trainer: env!("CARGO_PKG_VERSION").to_owned(),
            weights_sha256: None,
        };
        recorder.record.lineage = serde_json::to_value(&lineage).map_err(crate::broker::QueueError::from)?;
        let summary = dataset.summary.clone();
        let mut trained = train(self, recorder, &recipe, &base, dataset, run_dir, watchdog).await?;
        let mut judgments = 1;
        loop {
            watchdog.check()?;
            let (baselines, live) = watchdog.watch(cache.baselines(&base)).await?;
            let original = baselines.original.as_ref().map(|original| original.path().to_owned());
            let report;
            (trained, report) = self.evaluate(recorder, trained, baselines).await?;
            if !self.gate(recorder, &report, request.force).await? {
                return Ok(Outcome::KeptBack);
            }
            watchdog.check()?;
            let metadata =
                RunPapers { base: &base, summary: summary.clone(), lineage: lineage.clone(), report, live };
            trained = Box::pin(self.package(recorder, run_dir, trained, metadata)).await?;
            if request.dry_run {
                return Ok(Outcome::DryRun);
            }
            match Box::pin(publish::resume(self, recorder, run_dir, watchdog)).await? {
                PublishOutcome::Published(artifact) => {
                    let current: Vec<_> =
                        std::iter::once(base.folder.path()).chain(original.as_deref()).collect();
                    cache.keep_only(&current)?;
                    return Ok(Outcome::Published(artifact));
                }
                PublishOutcome::Outdated(error) if judgments < JUDGMENTS => {
                    let job = &recorder.record.id;
                    tracing::info!(%job, error = chain(&error), "the model is judged again beside what is live now");
                    judgments += 1;
                }
                PublishOutcome::Outdated(error) => return Err(error.into()),
                PublishOutcome::Nothing => return Err(RunError::PackageLost),
            }
        }
    }

    /// The settings of a run: the configured ones, and what the request says otherwise.
    fn recipe(&self, request: &JobRequest) -> Result<Recipe, RunError> {
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
}

/// A run whose end is recorded already: an attempt before was cut off between its record and the broker.
fn ended_before(record: RunRecord) -> AttemptEnding {
    let covered = record.last_sequence.unwrap_or_default();
    match (record.state, record.artifact) {
        (RunState::Done, Some(artifact)) => {
            AttemptEnding::Finished(FinishedRun { outcome: Outcome::Published(artifact), covered })
        }
        (RunState::Done, None) => AttemptEnding::Finished(FinishedRun { outcome: Outcome::DryRun, covered }),
        (RunState::Refused, _) => {
            AttemptEnding::Finished(FinishedRun { outcome: Outcome::KeptBack, covered })
        }
        (state, _) => AttemptEnding::Closed(state),
    }
}
