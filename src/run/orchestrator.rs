//! The walk of a run from its job request to a published model: stage after stage, keeping the journal.
//!
//! Every stage looks first at what an attempt before has recorded: the base model's name, the rows' hash, the release's
//! name, the finished zip. Only one worker can save the record, and what is sent to the Hub is written down
//! there before, so that of several attempts, even at the same time, one model comes out.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::broker::{Job, JobRequest, RunRecord, RunState};
use crate::failure::{Failure, Remedy, chain};
use autovalidate_finetune::train::Recipe;

use crate::run::error::JobError;
use crate::run::pipeline::{Ending, Finished, Outcome, Pipeline};
use crate::run::provenance::Lineage;
use crate::run::recorder::{Journal, Opened};
use crate::run::stage::Stage;
use crate::run::steps::RunPapers;
use crate::run::steps::train;
use crate::run::steps::{Sent, publish};
use crate::run::storage::Workshop;
use crate::run::storage::forget;
use crate::run::storage::{MODELS, Shelf, blocking};
use crate::run::watchdog::Guard;

/// How often a run is tried when what failed may pass, and when attempts end without a word.
const ATTEMPTS: u64 = 5;
/// How often an attempt judges its model, when each time another one has become live before it was published.
const JUDGEMENTS: u32 = 3;

impl Pipeline {
    /// Works on a job until it has ended, fails, or must stop. The run's record holds how.
    pub async fn run(&self, job: &Job, stop: &CancellationToken) -> Ending {
        let opened =
            Journal::open(self.runs.clone(), self.events.clone(), Arc::clone(&self.clock), job).await;
        let mut journal = match opened {
            Ok(Opened::Ready(journal)) => journal,
            Ok(Opened::Ended(record)) => return ended_before(*record),
            Err(error) => {
                tracing::warn!(job = %job.id(), error = chain(&error), "a run's record can't be opened");
                return Ending::Again { failures: job.deliveries() };
            }
        };
        let guard = Guard::new(self.runs.clone(), &journal.record, stop);
        let walked = match journal.record.failures {
            failures if failures >= ATTEMPTS => Err(JobError::DiedTooOften { attempts: failures }),
            _ => Box::pin(self.walk(&mut journal, job.request(), &guard)).await,
        };
        self.close(&mut journal, walked).await.unwrap_or_else(|error| {
            tracing::warn!(job = %job.id(), error = chain(&error), "a run's record can't be closed");
            match error {
                JobError::Overtaken => Ending::Overtaken,
                _ => Ending::Again { failures: journal.record.failures + 1 },
            }
        })
    }

    /// Writes down how an attempt ended.
    async fn close(
        &self,
        journal: &mut Journal,
        walked: Result<Finished, JobError>,
    ) -> Result<Ending, JobError> {
        let error = match walked {
            Ok(finished) => {
                journal.end(finished.state(), None).await?;
                return Ok(Ending::Finished(finished));
            }
            Err(error) => error,
        };
        match &error {
            JobError::Overtaken => Ok(Ending::Overtaken),
            JobError::Stopping => {
                journal.end(RunState::Queued, None).await?;
                Ok(Ending::Again { failures: 0 })
            }
            // The model waits in its workshop for a person to decide; its rows count as used.
            JobError::RolledBack { .. } => {
                journal.end(RunState::Refused, Some(&error)).await?;
                tracing::warn!(job = %journal.record.id, error = chain(&error), advice = error.advice(), "not published");
                let covered = journal.record.last_sequence.unwrap_or_default();
                Ok(Ending::Finished(Finished { outcome: Outcome::KeptBack, covered }))
            }
            JobError::Cancelled => {
                self.workshop(&journal.record)?.remove(SystemTime::now())?;
                forget(self.checkpoints.as_ref(), &journal.record.id, self.clock.now()).await;
                journal.end(RunState::Cancelled, None).await?;
                Ok(Ending::Closed(RunState::Cancelled))
            }
            _ => {
                journal.record.failures += 1;
                let failures = journal.record.failures;
                let again = error.remedy() == Remedy::Retry && failures < ATTEMPTS;
                let state = if again { RunState::Queued } else { RunState::Failed };
                journal.end(state, Some(&error)).await?;
                let (advice, job) = (error.advice(), &journal.record.id);
                tracing::warn!(%job, failures, again, error = chain(&error), advice, "an attempt failed");
                Ok(if again { Ending::Again { failures } } else { Ending::Closed(state) })
            }
        }
    }

    fn workshop(&self, record: &RunRecord) -> Result<Workshop, JobError> {
        Workshop::open(&self.plan.data_dir, &record.id, record.attempts)
    }

    async fn walk(
        &self,
        journal: &mut Journal,
        request: &JobRequest,
        guard: &Guard,
    ) -> Result<Finished, JobError> {
        let workshop = self.workshop(&journal.record)?;
        let covered = match journal.record.last_sequence {
            // Data was fetched before: what has arrived since counts for the next run.
            Some(covered) if journal.record.dataset_hash.is_some() => covered,
            // What has arrived when a run begins is what it learns from, whatever set it off.
            _ => self.corrections.last_sequence().await?,
        };
        publish::begin(self, journal, guard).await?;
        let sent = match request.dry_run {
            true => Sent::Nothing,
            false => Box::pin(publish::resume(self, journal, &workshop, guard)).await?,
        };
        let outcome = match sent {
            Sent::Published(artifact) => Outcome::Published(artifact),
            Sent::Nothing | Sent::Outdated(_) => {
                Box::pin(self.make(journal, request, &workshop, covered, guard)).await?
            }
        };
        let id = journal.record.id.clone();
        journal
            .stage(Stage::CleanUp, async {
                let removed = blocking(move || workshop.remove(SystemTime::now())).await?;
                forget(self.checkpoints.as_ref(), &id, self.clock.now()).await;
                Ok(((), json!({ "workshops": removed })))
            })
            .await?;
        Ok(Finished { outcome, covered })
    }

    /// From the base model to the published zip.
    async fn make(
        &self,
        journal: &mut Journal,
        request: &JobRequest,
        workshop: &Workshop,
        covered: u64,
        guard: &Guard,
    ) -> Result<Outcome, JobError> {
        let recipe = self.recipe(request)?;
        journal.record.settings = serde_json::to_value(&recipe).map_err(crate::broker::QueueError::from)?;
        let shelf = Shelf {
            repository: &self.repository,
            folder: self.plan.data_dir.join(MODELS),
            fallback: &self.plan.base_model,
        };
        let (base, ancestor) = self.load_base(journal, request, &shelf, guard).await?;
        let dataset = self.fetch_data(journal, covered, guard).await?;
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
        journal.record.lineage = serde_json::to_value(&lineage).map_err(crate::broker::QueueError::from)?;
        let summary = dataset.summary.clone();
        let mut trained = train(self, journal, &recipe, &base, dataset, workshop, guard).await?;
        let mut judgements = 1;
        loop {
            guard.check()?;
            let (baselines, live) = guard.watch(shelf.baselines(&base)).await?;
            let original = baselines.original.as_ref().map(|original| original.path().to_owned());
            let report;
            (trained, report) = self.evaluate(journal, trained, baselines).await?;
            if !self.gate(journal, &report, request.force).await? {
                return Ok(Outcome::KeptBack);
            }
            guard.check()?;
            let papers =
                RunPapers { base: &base, summary: summary.clone(), lineage: lineage.clone(), report, live };
            trained = Box::pin(self.package(journal, workshop, trained, papers)).await?;
            if request.dry_run {
                return Ok(Outcome::DryRun);
            }
            match Box::pin(publish::resume(self, journal, workshop, guard)).await? {
                Sent::Published(artifact) => {
                    let current: Vec<_> =
                        std::iter::once(base.folder.path()).chain(original.as_deref()).collect();
                    shelf.keep_only(&current)?;
                    return Ok(Outcome::Published(artifact));
                }
                Sent::Outdated(error) if judgements < JUDGEMENTS => {
                    let job = &journal.record.id;
                    tracing::info!(%job, error = chain(&error), "the model is judged again beside what is live now");
                    judgements += 1;
                }
                Sent::Outdated(error) => return Err(error.into()),
                Sent::Nothing => return Err(JobError::PackageLost),
            }
        }
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
}

/// A run whose end is recorded already: an attempt before was cut off between its record and the broker.
fn ended_before(record: RunRecord) -> Ending {
    let covered = record.last_sequence.unwrap_or_default();
    match (record.state, record.artifact) {
        (RunState::Done, Some(artifact)) => {
            Ending::Finished(Finished { outcome: Outcome::Published(artifact), covered })
        }
        (RunState::Done, None) => Ending::Finished(Finished { outcome: Outcome::DryRun, covered }),
        (RunState::Refused, _) => Ending::Finished(Finished { outcome: Outcome::KeptBack, covered }),
        (state, _) => Ending::Closed(state),
    }
}
