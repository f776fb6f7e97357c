//! The stages evaluate, gate and package: from a trained model to a zip with its verdict.

use serde_json::json;

use crate::evaluate::Report;
use crate::hub::{ReleaseName, Stamp};

use crate::run::dataset::DatasetSummary;
use crate::run::error::RunError;
use crate::run::fine_tune::ModelComparison;
use crate::run::fine_tune::TrainedModel;
use crate::run::pipeline::Pipeline;
use crate::run::provenance::Lineage;
use crate::run::recorder::RunRecorder;
use crate::run::stage::Stage;
use crate::run::steps::{ReleaseMetadata, package};
use crate::run::storage::{BaseModel, blocking};
use crate::run::storage::{Companions, RunDir};

impl Pipeline {
    /// Asks the new model and its baselines what is held out.
    pub(in crate::run) async fn evaluate(
        &self,
        recorder: &mut RunRecorder,
        mut trained: TrainedModel,
        baselines: ModelComparison,
    ) -> Result<(TrainedModel, Report), RunError> {
        let gate = self.plan.gate;
        let (trained, report) = recorder
            .stage(Stage::Evaluate, async {
                blocking(move || {
                    let report = trained.evaluate(&gate, &baselines)?;
                    let figures = report.clone();
                    Ok(((trained, report), figures))
                })
                .await
            })
            .await?;
        recorder.record.metrics = serde_json::to_value(&report).map_err(crate::broker::QueueError::from)?;
        recorder.record.verdict = Some(report.gate.verdict.name().to_owned());
        Ok((trained, report))
    }

    /// Whether the model may be published.
    pub(in crate::run) async fn gate(
        &self,
        recorder: &mut RunRecorder,
        report: &Report,
        force: bool,
    ) -> Result<bool, RunError> {
        recorder
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
        recorder: &mut RunRecorder,
        run_dir: &RunDir,
        mut trained: TrainedModel,
        metadata: RunPapers<'_>,
    ) -> Result<TrainedModel, RunError> {
        let named = recorder.record.release.as_ref().and_then(|name| name.parse::<ReleaseName>().ok());
        let release = match named {
            Some(release) => release,
            None => {
                let releases = self.repository.releases().await?;
                let stamp = Stamp::next(self.clock.now(), releases.iter().map(|release| &release.name));
                ReleaseName::from(stamp.ok_or(RunError::NoNewerName)?)
            }
        };
        recorder.record.release = Some(release.as_str().to_owned());
        let (runtime, run_dir) = (self.runtime.clone(), run_dir.clone());
        let (job, repo, made_at) =
            (recorder.record.id.to_string(), self.repository.name().clone(), self.clock.now());
        let RunPapers { base, summary, lineage, report, live } = metadata;
        let (base, live) = (base.clone(), live.map(String::from));
        let (trained, kept, weights_sha256) = recorder
            .stage(Stage::Package, async {
                blocking(move || {
                    let metadata = ReleaseMetadata {
                        job: &job,
                        release: &release,
                        repo: &repo,
                        made_at,
                        base: &base,
                        dataset: &summary,
                        lineage: &lineage,
                        report: &report,
                    };
                    let ready = package(&runtime, &mut trained, &metadata, &run_dir.attempt_folder())?;
                    let companions = Companions { card: ready.card, receipt: ready.receipt };
                    let kept = run_dir.keep(&ready.zip, release.as_str(), &companions, live)?;
                    Ok(((trained, kept, ready.figures.weights_sha256), ready.figures))
                })
                .await
            })
            .await?;
        recorder.record.packages.push(kept);
        recorder.record.lineage["weights_sha256"] = json!(weights_sha256);
        Ok(trained)
    }
}

/// What the package says about its run.
pub(in crate::run) struct RunPapers<'a> {
    pub(in crate::run) base: &'a BaseModel,
    pub(in crate::run) summary: DatasetSummary,
    pub(in crate::run) lineage: Lineage,
    pub(in crate::run) report: Report,
    /// The release it was judged beside.
    pub(in crate::run) live: Option<ReleaseName>,
}
