//! The stages evaluate, gate and package: from a trained model to a zip with its verdict.

use serde_json::json;

use crate::evaluate::Report;
use crate::hub::{ReleaseName, Stamp};

use crate::run::dataset::DatasetSummary;
use crate::run::error::JobError;
use crate::run::fine_tune::Baselines;
use crate::run::fine_tune::Trained;
use crate::run::pipeline::Pipeline;
use crate::run::provenance::Lineage;
use crate::run::recorder::Journal;
use crate::run::stage::Stage;
use crate::run::steps::{Papers, package};
use crate::run::storage::{Base, blocking};
use crate::run::storage::{Companions, Workshop};

impl Pipeline {
    /// Asks the new model and its baselines what is held out.
    pub(in crate::run) async fn evaluate(
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
        journal.record.metrics = serde_json::to_value(&report).map_err(crate::broker::QueueError::from)?;
        journal.record.verdict = Some(report.gate.verdict.name().to_owned());
        Ok((trained, report))
    }

    /// Whether the model may be published.
    pub(in crate::run) async fn gate(
        &self,
        journal: &mut Journal,
        report: &Report,
        force: bool,
    ) -> Result<bool, JobError> {
        journal
            .stage(Stage::Gate, async {
                let publish = report.may_be_published(force);
                let figures = json!({
                    "verdict": report.gate.verdict,
                    "sentence": report.gate.sentence(),
                    "defects": report.sanity.defects,
                    "publish": publish,
                    "forced": publish && !report.may_be_published(false),
                });
                Ok((publish, figures))
            })
            .await
    }

    /// Makes the zip under the run's name for it, and writes both down.
    pub(in crate::run) async fn package(
        &self,
        journal: &mut Journal,
        workshop: &Workshop,
        mut trained: Trained,
        papers: RunPapers<'_>,
    ) -> Result<Trained, JobError> {
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
        let RunPapers { base, summary, lineage, report, live } = papers;
        let (base, live) = (base.clone(), live.map(String::from));
        let (trained, kept, weights_sha256) = journal
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
                    let kept = workshop.keep(&ready.zip, release.as_str(), &companions, live)?;
                    Ok(((trained, kept, ready.figures.weights_sha256), ready.figures))
                })
                .await
            })
            .await?;
        journal.record.packages.push(kept);
        journal.record.lineage["weights_sha256"] = json!(weights_sha256);
        Ok(trained)
    }
}

/// What the package says about its run.
pub(in crate::run) struct RunPapers<'a> {
    pub(in crate::run) base: &'a Base,
    pub(in crate::run) summary: DatasetSummary,
    pub(in crate::run) lineage: Lineage,
    pub(in crate::run) report: Report,
    /// The release it was judged beside.
    pub(in crate::run) live: Option<ReleaseName>,
}
