//! The walk of a run from its job request to a published model: stage after stage, keeping the journal.
//!
//! Every stage looks first at what an attempt before has recorded: the base model's name, the rows' hash, the release's
//! name, the finished zip. Only one worker can save the record, and what is sent to the Hub is written down
//! there before, so that of several attempts, even at the same time, one model comes out.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::evaluate::Report;
use crate::failure::{Failure, Remedy, chain};
use crate::hub::{ReleaseName, Stamp};
use crate::queue::{Job, JobRequest, RunRecord, RunState};
use crate::train::Recipe;

use super::base::{Base, Shelf, blocking};
use super::courier::forget;
use super::dataset::{Dataset, DatasetSummary};
use super::guard::Guard;
use super::journal::{Journal, Opened};
use super::lineage::{Ancestor, Lineage};
use super::package::{Papers, package};
use super::pipeline::{Ending, Finished, Outcome, Pipeline};
use super::publishing;
use super::snapshot::{RowSource, Snapshots, TakenRows};
use super::study::Trained;
use super::training::train;
use super::workshop::{Companions, Workshop};
use super::{Baselines, JobError, Stage};

/// How often a run is tried when what failed may pass, and when attempts end without a word.
const ATTEMPTS: u64 = 5;

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
        let published = match request.dry_run {
            true => None,
            false => Box::pin(publishing::resume(self, journal, &workshop, guard)).await?,
        };
        let outcome = match published {
            Some(artifact) => Outcome::Published(artifact),
            None => Box::pin(self.make(journal, request, &workshop, covered, guard)).await?,
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
        journal.record.settings = serde_json::to_value(&recipe).map_err(crate::queue::QueueError::from)?;
        let shelf = Shelf {
            repository: &self.repository,
            folder: self.plan.data_dir.join("models"),
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
        journal.record.lineage = serde_json::to_value(&lineage).map_err(crate::queue::QueueError::from)?;
        let summary = dataset.summary.clone();
        let trained = train(self, journal, &recipe, &base, dataset, workshop, guard).await?;
        guard.check()?;
        let baselines = guard.watch(shelf.baselines(&base)).await?;
        let (trained, report) = self.evaluate(journal, trained, baselines.clone()).await?;
        let publish = journal
            .stage(Stage::Gate, async {
                let publish = report.may_be_published(request.force);
                let figures = json!({
                    "verdict": report.gate.verdict,
                    "sentence": report.gate.sentence(),
                    "defects": report.sanity.defects,
                    "publish": publish,
                    "forced": publish && !report.may_be_published(false),
                });
                Ok((publish, figures))
            })
            .await?;
        if !publish {
            return Ok(Outcome::KeptBack);
        }
        guard.check()?;
        let papers = RunPapers { base: &base, summary, lineage, report };
        Box::pin(self.package(journal, workshop, trained, papers)).await?;
        if request.dry_run {
            return Ok(Outcome::DryRun);
        }
        let Some(artifact) = Box::pin(publishing::resume(self, journal, workshop, guard)).await? else {
            return Err(JobError::PackageLost);
        };
        let original = baselines.original.as_ref().map(crate::model::ModelFolder::path);
        let current: Vec<_> = std::iter::once(base.folder.path()).chain(original).collect();
        shelf.keep_only(&current)?;
        Ok(Outcome::Published(artifact))
    }

    async fn load_base(
        &self,
        journal: &mut Journal,
        request: &JobRequest,
        shelf: &Shelf<'_>,
        guard: &Guard,
    ) -> Result<(Base, Ancestor), JobError> {
        // An attempt that goes on starts from the same model, whatever has been released since.
        let before = journal.record.base_model.clone().filter(|_| journal.record.dataset_hash.is_some());
        let wanted = match before {
            Some(label) if ReleaseName::from_path(&label).is_some() => Some(label),
            Some(_) => request.base_model.clone().or_else(|| Some(self.plan.base_model.clone())),
            None => request.base_model.clone(),
        };
        let private = self.plan.private_repository;
        let (base, ancestor) = journal
            .stage(Stage::LoadBase, async {
                let base = guard
                    .watch(async {
                        self.repository.create_if_missing(private).await?;
                        shelf.base(wanted.as_deref()).await
                    })
                    .await?;
                let (base, ancestor) = blocking(move || {
                    let ancestor = Ancestor::of(&base)?;
                    Ok((base, ancestor))
                })
                .await?;
                let figures = json!({ "model": base.label, "origin": base.origin, "weights_sha256": ancestor.weights_sha256 });
                Ok(((base, ancestor), figures))
            })
            .await?;
        journal.record.base_model = Some(base.label.clone());
        Ok((base, ancestor))
    }

    async fn fetch_data(
        &self,
        journal: &mut Journal,
        covered: u64,
        guard: &Guard,
    ) -> Result<Dataset, JobError> {
        let snapshots = Snapshots::new(self.plan.data_dir.join("snapshots"));
        let known = journal.record.dataset_hash.clone();
        let dataset = journal
            .stage(Stage::FetchData, async {
                let (hold_out, templates) = (self.plan.hold_out, self.plan.templates.clone());
                let kept = {
                    let (snapshots, templates) = (snapshots.clone(), templates.clone());
                    blocking(move || {
                        let taken = known.as_ref().and_then(|hash| snapshots.load(hash));
                        let dataset = taken.map(|taken| taken.dataset(&hold_out, &templates));
                        Ok(dataset.filter(|dataset| Some(&dataset.summary.hash) == known.as_ref()))
                    })
                    .await?
                };
                let (mut dataset, source) = match kept {
                    Some(dataset) => (dataset, RowSource::Snapshot),
                    None => {
                        let snapshot =
                            guard.watch(async { Ok(self.corrections.snapshot(covered).await?) }).await?;
                        let rows = snapshot.rows.into_iter().map(|(_, row)| row).collect();
                        let names = match &self.plan.names {
                            None => Vec::new(),
                            Some(source) => guard.watch(async { Ok(source.read().await?) }).await?,
                        };
                        let taken = TakenRows { rows, released: snapshot.released, names };
                        let dataset = blocking(move || {
                            let dataset = taken.clone().dataset(&hold_out, &templates);
                            snapshots.keep(&dataset.summary.hash, &taken)?;
                            Ok(dataset)
                        })
                        .await?;
                        (dataset, RowSource::Stream)
                    }
                };
                dataset.summary.quarantined = self.corrections.quarantined_counts().await?;
                let mut figures =
                    serde_json::to_value(&dataset.summary).map_err(crate::queue::QueueError::from)?;
                figures["source"] = json!(source);
                // An attempt before has recorded the ids, which may be many.
                if let (RowSource::Snapshot, Some(figures)) = (source, figures.as_object_mut()) {
                    figures.retain(|name, _| !name.ends_with("_ids"));
                }
                Ok((dataset, figures))
            })
            .await?;
        let summary = &dataset.summary;
        journal.record.last_sequence = Some(covered);
        journal.record.row_count = Some(summary.rows as u64);
        journal.record.dataset_hash = Some(summary.hash.clone());
        Ok(dataset)
    }

    async fn evaluate(
        &self,
        journal: &mut Journal,
        mut trained: Trained,
        baselines: Baselines,
    ) -> Result<(Trained, Report), JobError> {
        let gate = self.plan.gate;
        let (trained, report) = journal
            .stage(Stage::Evaluate, async {
                blocking(move || {
                    let report = trained.evaluate(&gate, &baselines)?;
                    let figures = report.clone();
                    Ok(((trained, report), figures))
                })
                .await
            })
            .await?;
        journal.record.metrics = serde_json::to_value(&report).map_err(crate::queue::QueueError::from)?;
        journal.record.verdict = Some(report.gate.verdict.name().to_owned());
        Ok((trained, report))
    }

    /// Makes the zip under the run's name for it, and writes both down.
    async fn package(
        &self,
        journal: &mut Journal,
        workshop: &Workshop,
        mut trained: Trained,
        papers: RunPapers<'_>,
    ) -> Result<(), JobError> {
        let named = journal.record.release.as_ref().and_then(|name| name.parse::<ReleaseName>().ok());
        let release = match named {
            Some(release) => release,
            None => {
                let releases = self.repository.releases().await?;
                let stamp = Stamp::next(self.clock.now(), releases.iter().map(|release| &release.name));
                ReleaseName::from(stamp.ok_or(JobError::NoNewerName)?)
            }
        };
        journal.record.release = Some(release.as_str().to_owned());
        let (runtime, workshop) = (self.runtime.clone(), workshop.clone());
        let (job, repo, made_at) =
            (journal.record.id.to_string(), self.repository.name().clone(), self.clock.now());
        let RunPapers { base, summary, lineage, report } = papers;
        let base = base.clone();
        let (kept, weights_sha256) = journal
            .stage(Stage::Package, async {
                blocking(move || {
                    let papers = Papers {
                        job: &job,
                        release: &release,
                        repo: &repo,
                        made_at,
                        base: &base,
                        dataset: &summary,
                        lineage: &lineage,
                        report: &report,
                    };
                    let ready = package(&runtime, &mut trained, &papers, &workshop.attempt_folder())?;
                    let companions = Companions { card: ready.card, receipt: ready.receipt };
                    let kept = workshop.keep(&ready.zip, release.as_str(), &companions)?;
                    Ok(((kept, ready.figures.weights_sha256), ready.figures))
                })
                .await
            })
            .await?;
        journal.record.packages.push(kept);
        journal.record.lineage["weights_sha256"] = json!(weights_sha256);
        Ok(())
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

/// What the package says about its run.
struct RunPapers<'a> {
    base: &'a Base,
    summary: DatasetSummary,
    lineage: Lineage,
    report: Report,
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
