//! The whole run, from its job request to a published model: one step after the other.
//!
//! An attempt first reads the results that earlier attempts have recorded: the base model's name,
//! the rows' hash, the release's name, the finished zip. Only one worker can save the record, and
//! every zip is in the record before it is sent to the Hub. So several attempts, even simultaneous
//! ones, publish one model.

use std::time::SystemTime;

use autovalidate_finetune::model::TokenizerChoice;
use autovalidate_finetune::train::Recipe;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::broker::{Job, JobRequest, RecordedError, RunRecord};
use crate::failure::{RetryDirective, chain};

use super::endings::{ATTEMPTS, last_message, recorded_ending};
use super::error::{Interruption, RunError};
use super::pipeline::{AttemptEnding, FinishedRun, Outcome, Pipeline};
use super::provenance::{Ancestor, Lineage};
use super::recorder::{Opened, RunRecorder};
use super::steps::{
    CleanUp, Evaluate, Evaluated, FetchData, Gate, LoadBase, LoadedBase, Package, PublishOutcome,
    StepContext, Train, publish_package, record_known_rollback, to_json,
};
use super::storage::{Baselines, ModelCache, RunDir, blocking, keep_within, leave_error, take_error};
use super::watchdog::RunWatchdog;

/// Number of times that an attempt evaluates its model. It evaluates again when another model went
/// live before its own was published.
const EVALUATIONS: u32 = 3;

impl Pipeline {
    /// Works on a job until the run has ended, the attempt fails, or the work must stop. The run's
    /// record says which of these happened.
    pub async fn run(&self, job: &Job, stop: &CancellationToken) -> AttemptEnding {
        let opened = Box::pin(RunRecorder::open(self, job)).await;
        let mut recorder = match opened {
            Ok(Opened::Ready(recorder)) => recorder,
            Ok(Opened::Ended(record)) => return recorded_ending(*record),
            Err(error) => {
                tracing::warn!(job = %job.id(), error = chain(&error), "a run's record can't be opened");
                return AttemptEnding::Retry { failures: job.deliveries() };
            }
        };
        let watchdog = RunWatchdog::new(self.runs.clone(), &recorder.record, stop);
        let attempts = recorder.record.failures;
        let (closed, failure) = match take_error(&self.plan.data_dir, job.id(), recorder.record.attempts) {
            // The last attempt failed in a way that another attempt repeats.
            Some(left) if attempts >= ATTEMPTS || left.remedy != RetryDirective::Retry => {
                (Self::close_left(&mut recorder, left.clone()).await, Some(left))
            }
            _ => {
                let attempted = match attempts >= ATTEMPTS {
                    true => Err(RunError::TooManyAttempts { attempts, last: last_message(&recorder.record) }),
                    false => Box::pin(self.attempt(&mut recorder, job.request(), &watchdog)).await,
                };
                let failure = attempted.as_ref().err().filter(|error| error.interruption().is_none());
                let failure = failure.map(|error| RecordedError::new(error));
                (self.close(&mut recorder, attempted).await, failure)
            }
        };
        closed.unwrap_or_else(|error| {
            tracing::warn!(job = %job.id(), error = chain(&error), "a run's record can't be closed");
            match error.interruption() {
                Some(Interruption::Overtaken) => AttemptEnding::Overtaken,
                Some(Interruption::Stopping | Interruption::Cancelled) | None => {
                    // The record says only that the attempt began. The next one finds the reason here.
                    let failure = failure.unwrap_or_else(|| RecordedError::new(&error));
                    leave_error(&self.plan.data_dir, job.id(), recorder.record.attempts, failure);
                    AttemptEnding::Retry { failures: recorder.record.failures + 1 }
                }
            }
        })
    }

    /// Performs one attempt: publishes the package of an earlier attempt, or makes a new model;
    /// then cleans up.
    async fn attempt(
        &self,
        recorder: &mut RunRecorder,
        request: &JobRequest,
        watchdog: &RunWatchdog,
    ) -> Result<FinishedRun, RunError> {
        let run_dir = self.run_dir(&recorder.record)?;
        let (data_dir, budget) = (self.plan.data_dir.clone(), self.plan.data_budget);
        let own = run_dir.folder().to_owned();
        blocking(move || keep_within(&data_dir, budget, &own, SystemTime::now())).await?;
        let context =
            StepContext { pipeline: self, job: recorder.record.id.clone(), request, run_dir, watchdog };
        let covered = match recorder.record.last_sequence {
            // An earlier attempt has fetched the data. Rows that have arrived since then count
            // toward the next run.
            Some(covered) if recorder.record.dataset_hash.is_some() => covered,
            // A run trains on every row that has arrived when the run begins, whatever triggered
            // it.
            _ => self.corrections.last_sequence().await?,
        };
        record_known_rollback(recorder, &context).await?;
        // The Hub has just answered.
        let look_up = async {
            self.look_up_failed_runs().await;
            Ok(())
        };
        watchdog.watch(look_up).await?;
        let published = match request.dry_run {
            true => PublishOutcome::NoPackage,
            false => Box::pin(publish_package(recorder, &context)).await?,
        };
        let outcome = match published {
            PublishOutcome::Published(artifact) => Outcome::Published(artifact),
            PublishOutcome::NoPackage | PublishOutcome::Outdated(_) => {
                Box::pin(self.make(recorder, &context, covered)).await?
            }
        };
        recorder.perform(CleanUp, &context).await?;
        Ok(FinishedRun { outcome, covered })
    }

    /// Performs every stage from the base model to the published zip.
    async fn make(
        &self,
        recorder: &mut RunRecorder,
        context: &StepContext<'_>,
        covered: u64,
    ) -> Result<Outcome, RunError> {
        let StepContext { request, watchdog, .. } = context;
        let recipe = self.recipe(request)?;
        let tokenizer = watchdog.watch(self.tokenizer(&mut recorder.record, covered)).await?;
        recorder.record.settings = to_json(&recipe)?;
        let check = match tokenizer {
            TokenizerChoice::Keep => self.plan.model_check.clone(),
            TokenizerChoice::Characters => {
                self.plan.model_check.clone().with_characters(self.plan.templates.phrases())
            }
        };
        let cache = ModelCache::new(&self.repository, &self.plan.data_dir, &self.plan.base_model)
            .with_allowed(&self.plan.base_model_folders)
            .with_check(check)
            .with_tokenizer(tokenizer);

        let load_base = LoadBase::of(self, &cache, &recorder.record, request);
        let LoadedBase { model: base, ancestor } = recorder.perform(load_base, context).await?;

        let fetch_data = FetchData { covered, known_hash: recorder.record.dataset_hash.clone() };
        let dataset = recorder.perform(fetch_data, context).await?.dataset;
        let summary = dataset.summary.clone();
        let lineage = self.lineage(ancestor, covered, tokenizer, &recipe);
        recorder.record.lineage = to_json(&lineage)?;

        let mut trained =
            recorder.perform(Train { tokenizer, recipe: &recipe, base: &base, dataset }, context).await?;

        for evaluation in 1.. {
            watchdog.check()?;
            let Baselines { comparison, live, instead_of_live } =
                watchdog.watch(cache.baselines(&base)).await?;
            let evaluated =
                recorder.perform(Evaluate { trained, comparison, live, instead_of_live }, context).await?;
            let Evaluated { trained: evaluated, report, live, original } = evaluated;
            if !recorder.perform(Gate { report: &report }, context).await? {
                return Ok(Outcome::Withheld);
            }

            watchdog.check()?;
            let package = Package {
                release: Package::release_name(self, &recorder.record).await?,
                trained: evaluated,
                base: base.clone(),
                summary: summary.clone(),
                lineage: lineage.clone(),
                report,
                live,
            };
            trained = recorder.perform(package, context).await?.trained;
            if request.dry_run {
                return Ok(Outcome::DryRun);
            }

            match Box::pin(publish_package(recorder, context)).await? {
                PublishOutcome::Published(artifact) => {
                    let current: Vec<_> =
                        std::iter::once(base.folder.path()).chain(original.as_deref()).collect();
                    cache.keep_only(&current)?;
                    return Ok(Outcome::Published(artifact));
                }
                PublishOutcome::Outdated(error) if evaluation < EVALUATIONS => {
                    let (job, error) = (&context.job, chain(&error));
                    tracing::info!(%job, error, "another model went live; evaluating against it");
                }
                PublishOutcome::Outdated(error) => return Err(error.into()),
                PublishOutcome::NoPackage => break,
            }
        }
        Err(RunError::PackageLost)
    }

    /// Returns the recipe of a run: the configured one, with the request's overrides.
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

    /// Returns the tokens to train on. An attempt that continues a run keeps those of the attempt before,
    /// even if the settings have changed since: its checkpoint is of no use to a model with others.
    ///
    /// A switch to characters starts from the original model. If the gate has refused one, runs go on with
    /// the live model's tokens until there are twice as many rows: else no correction would reach the live
    /// model while the switch loses.
    async fn tokenizer(&self, record: &mut RunRecord, covered: u64) -> Result<TokenizerChoice, RunError> {
        if !record.lineage.is_null() {
            // Records of earlier versions don't name the tokens, which were those of the base.
            return Ok(TokenizerChoice::deserialize(&record.lineage["tokenizer"]).unwrap_or_default());
        }
        if self.plan.tokenizer == TokenizerChoice::Keep {
            return Ok(TokenizerChoice::Keep);
        }
        let last = self.runs.last_ended().await?;
        record.refused_switch = last.and_then(|last| last.refused_switch_so_far());
        match record.refused_switch.map(|refused| refused.saturating_mul(2)) {
            Some(again_at) if covered < again_at => {
                let job = &record.id;
                tracing::info!(%job, covered, again_at, "the tokens stay: the gate has refused other ones");
                Ok(TokenizerChoice::Keep)
            }
            _ => Ok(self.plan.tokenizer),
        }
    }

    fn lineage(&self, base: Ancestor, covered: u64, tokenizer: TokenizerChoice, recipe: &Recipe) -> Lineage {
        Lineage {
            base,
            last_sequence: Some(covered),
            tokenizer,
            recipe: recipe.clone(),
            synthesis: self.plan.synthesis.clone(),
            hold_out: self.plan.hold_out,
            templates: self.plan.templates.clone(),
            threads: self.runtime.threads(),
            device: self.runtime.device(),
            trainer: env!("CARGO_PKG_VERSION").to_owned(),
            weights_sha256: None,
        }
    }

    pub(super) fn run_dir(&self, record: &RunRecord) -> Result<RunDir, RunError> {
        RunDir::open(&self.plan.data_dir, &record.id, record.attempts)
    }
}
