//! Package: writes the model folder and its zip, and checks that the exported ONNX model embeds
//! like the trained one.
//!
//! ```text
//! metadata   the receipt and the model card that describe the release
//! ```

mod metadata;

use std::path::{Path, PathBuf};

use autovalidate_finetune::model::{ModelFolder, Tokenizer, archive};
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::embed_exported;
use ndarray::Array2;
use serde::Serialize;
use serde_json::json;

use crate::broker::{BrokerError, PackageRecord, RunRecord};
use crate::evaluate::Report;
use crate::hub::{Digest, LiveRelease, ReleaseName, Stamp};
use crate::run::dataset::{DatasetSummary, RECEIPT};
use crate::run::error::RunError;
use crate::run::fine_tune::{TrainedModel, training_outline};
use crate::run::pipeline::Pipeline;
use crate::run::provenance::{Lineage, ParityProof, Receipt, weights_digest};
use crate::run::stage::Stage;
use crate::run::storage::{BaseModel, Companions, blocking};

use super::{Step, StepContext, StepOutput};

use metadata::ReleaseMetadata;

/// Lowest allowed cosine between the trained and the exported model's embeddings of a text. Allows
/// for rounding only.
const PARITY: f32 = 0.9999;
/// Largest receipt with the scores of every domain, in bytes.
const MAX_RECEIPT: usize = 8 << 20;
/// Number of texts that are compared.
const PARITY_TEXTS: usize = 32;

/// Packages a trained model under the name of the run's release.
pub(in crate::run) struct Package {
    pub(in crate::run) release: ReleaseName,
    pub(in crate::run) trained: TrainedModel,
    pub(in crate::run) base: BaseModel,
    pub(in crate::run) summary: DatasetSummary,
    pub(in crate::run) lineage: Lineage,
    pub(in crate::run) report: Report,
    /// The release that the model was measured against; `None` before the first release.
    pub(in crate::run) live: Option<LiveRelease>,
}

/// A trained model, and the zip that it was packaged in.
pub(in crate::run) struct Packaged {
    pub(in crate::run) trained: TrainedModel,
    package: PackageRecord,
    weights_sha256: Digest,
}

impl Package {
    /// Returns the name of the run's release: the name that an earlier attempt recorded, or the
    /// next free one.
    pub(in crate::run) async fn release_name(
        pipeline: &Pipeline,
        record: &RunRecord,
    ) -> Result<ReleaseName, RunError> {
        if let Some(recorded) = record.release.as_ref().and_then(|name| name.parse().ok()) {
            return Ok(recorded);
        }
        Self::next_name(pipeline).await
    }

    /// Returns the next free name of a release.
    ///
    /// # Errors
    /// [`RunError::NoNewerName`] when no name would be the newest.
    pub(in crate::run) async fn next_name(pipeline: &Pipeline) -> Result<ReleaseName, RunError> {
        let releases = pipeline.repository.releases().await?;
        let stamp = Stamp::next(pipeline.clock.now(), releases.iter().map(|release| &release.name));
        Ok(ReleaseName::from(stamp.ok_or(RunError::NoNewerName)?))
    }
}

impl Step for Package {
    const STAGE: Stage = Stage::Package;
    type Output = Packaged;

    fn announce(&self, record: &mut RunRecord) {
        record.release = Some(self.release.as_str().to_owned());
    }

    async fn perform(self, context: &StepContext<'_>) -> Result<StepOutput<Packaged>, RunError> {
        let pipeline = context.pipeline;
        let (runtime, run_dir) = (pipeline.runtime.clone(), context.run_dir.clone());
        let (job, repo, made_at) =
            (context.job.to_string(), pipeline.repository.name().clone(), pipeline.clock.now());
        blocking(move || {
            let Self { release, mut trained, base, summary, lineage, report, live } = self;
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
            let built = build(&runtime, &mut trained, &metadata, &run_dir.attempt_folder())?;
            let package = run_dir.store_package(&built.zip, release.as_str(), &built.companions, live)?;
            let weights_sha256 = built.figures.weights_sha256;
            StepOutput::new(Packaged { trained, package, weights_sha256 }, built.figures)
        })
        .await
    }

    fn record(output: &Packaged, record: &mut RunRecord) -> Result<(), RunError> {
        record.packages.push(output.package.clone());
        record.lineage["weights_sha256"] = json!(output.weights_sha256);
        Ok(())
    }
}

/// A finished zip, the files that are published with it, and the figures of the stage.
struct Built {
    zip: PathBuf,
    companions: Companions,
    figures: PackageFigures,
}

/// Figures of the stage, as the record and the events hold them.
#[derive(Debug, Clone, Serialize)]
struct PackageFigures {
    version: String,
    bytes: u64,
    weights_sha256: Digest,
    onnx_parity: f32,
}

/// Writes the model folder and the zip below `folder`. Blocks.
fn build(
    runtime: &Runtime,
    trained: &mut TrainedModel,
    metadata: &ReleaseMetadata<'_>,
    folder: &Path,
) -> Result<Built, RunError> {
    let top = metadata.release.folder();
    let model = folder.join(top);
    std::fs::create_dir_all(&model).map_err(RunError::file("make", &model))?;
    trained.export(&model)?;
    let exported = ModelFolder::open(&model)?;
    let texts = trained.sample_texts(PARITY_TEXTS);
    let cosine = lowest_cosine(&trained.embed(&texts)?, &embed_exported(runtime, &exported, &texts)?);
    if cosine.is_nan() || cosine < PARITY {
        return Err(RunError::Parity { cosine });
    }
    let tokenizer = exported.tokenizer()?;
    if tokenizer.encode(&texts)?.texts != trained.token_ids(&texts)? {
        return Err(RunError::OtherTokens);
    }
    let proof =
        ParityProof { texts: texts.len(), tokenized_as: Tokenizer::READINGS.map(str::to_owned).to_vec() };
    let weights_sha256 = weights_digest(&exported)?;
    let lineage = Lineage { weights_sha256: Some(weights_sha256), ..metadata.lineage.clone() };
    let receipt = metadata.receipt(trained, lineage, exported.dimension, cosine, proof);
    let receipt = receipt_text(receipt, MAX_RECEIPT)?;
    let card = metadata.card(exported.dimension, &trained.figures).to_string();
    for (name, text) in [(RECEIPT, &receipt), ("README.md", &card)] {
        let path = model.join(name);
        std::fs::write(&path, text).map_err(RunError::file("write", &path))?;
    }

    let zip = folder.join(metadata.release.as_str());
    archive::pack(&model, top, &zip)?;
    std::fs::remove_dir_all(&model).map_err(RunError::file("remove", &model))?;
    let bytes = std::fs::metadata(&zip).map_err(RunError::file("read", &zip))?.len();
    let version = metadata.release.version().to_owned();
    let figures = PackageFigures { version, bytes, weights_sha256, onnx_parity: cosine };
    Ok(Built { zip, companions: Companions { card, receipt }, figures })
}

/// Serializes a receipt. One of more than `most` bytes has the outline of its scores and losses, but
/// every id: the Hub's files are read up to a limit, and the lineage of pairs depends on the ids.
fn receipt_text(mut receipt: Receipt, most: usize) -> Result<String, RunError> {
    let text = serde_json::to_string_pretty(&receipt).map_err(BrokerError::from)?;
    if text.len() <= most {
        return Ok(text);
    }
    receipt.report = receipt.report.outline();
    receipt.training = training_outline(&receipt.training);
    Ok(serde_json::to_string_pretty(&receipt).map_err(BrokerError::from)?)
}

/// Returns the lowest cosine between corresponding rows of two matrices.
fn lowest_cosine(one: &Array2<f32>, other: &Array2<f32>) -> f32 {
    one.rows()
        .into_iter()
        .zip(other.rows())
        .map(|(a, b)| a.dot(&b) / (a.dot(&a).sqrt() * b.dot(&b).sqrt()))
        .fold(1.0, f32::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_receipt_keeps_its_ids_and_outlines_its_scores() {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/version-0.1.0/receipt.json");
        let fixture = std::fs::read_to_string(fixture).unwrap();
        let mut receipt: Receipt = serde_json::from_str(&fixture).unwrap();
        let judged = receipt.report.gate.overall;
        receipt.report.gate.domains = (0..50).map(|number| (format!("form {number}"), judged)).collect();
        receipt.dataset.row_ids = (0..20_000).step_by(2).collect();
        let whole = serde_json::to_string_pretty(&receipt).unwrap();
        assert_eq!(receipt_text(receipt.clone(), whole.len()).unwrap(), whole);
        let text = receipt_text(receipt.clone(), whole.len() - 1).unwrap();
        let outlined: Receipt = serde_json::from_str(&text).unwrap();
        assert_eq!(outlined.dataset, receipt.dataset);
        assert_eq!((outlined.report.gate.domains.len(), outlined.report.gate.other_domains), (8, 42));
    }
}
