//! The trained model as a folder and a zip, checked and with its metadata.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde::Serialize;

use crate::evaluate::{Report, Scores};
use crate::hub::{Card, Digest, DomainScores, ReleaseName, RepoName};
use autovalidate_finetune::model::{ModelFolder, archive};
use autovalidate_finetune::onnx::{Loss, Runtime};
use autovalidate_finetune::train::embed_exported;

use crate::run::dataset::DatasetSummary;
use crate::run::error::RunError;
use crate::run::fine_tune::{SessionFigures, TrainedModel};
use crate::run::provenance::{Lineage, weights_digest};
use crate::run::provenance::{RECEIPT, Receipt};
use crate::run::storage::{BaseModel, ModelOrigin};

/// The exported model must embed as the trained one does, up to rounding.
const PARITY: f32 = 0.9999;
/// Texts compared.
const PARITY_TEXTS: usize = 32;

/// A finished zip and its metadata.
#[derive(Debug, Clone)]
pub(in crate::run) struct Package {
    pub(in crate::run) zip: PathBuf,
    pub(in crate::run) card: String,
    pub(in crate::run) receipt: String,
    pub(in crate::run) figures: PackageFigures,
}

/// What packaging found.
#[derive(Debug, Clone, Serialize)]
pub(in crate::run) struct PackageFigures {
    pub(in crate::run) version: String,
    pub(in crate::run) bytes: u64,
    pub(in crate::run) weights_sha256: Option<Digest>,
    pub(in crate::run) onnx_parity: f32,
}

/// What a package says about its run.
pub(in crate::run) struct ReleaseMetadata<'a> {
    pub(in crate::run) job: &'a str,
    pub(in crate::run) release: &'a ReleaseName,
    pub(in crate::run) repo: &'a RepoName,
    pub(in crate::run) made_at: jiff::Timestamp,
    pub(in crate::run) base: &'a BaseModel,
    pub(in crate::run) dataset: &'a DatasetSummary,
    pub(in crate::run) lineage: &'a Lineage,
    pub(in crate::run) report: &'a Report,
}

impl ReleaseMetadata<'_> {
    fn receipt(
        &self,
        trained: &TrainedModel,
        lineage: Lineage,
        dimension: usize,
        onnx_parity: f32,
    ) -> Receipt {
        Receipt {
            job: self.job.to_owned(),
            version: self.release.version().to_owned(),
            made_at: self.made_at.to_string(),
            base_model: self.base.label.clone(),
            dataset: self.dataset.clone(),
            lineage,
            dimension,
            training: trained.summary.clone(),
            report: self.report.clone(),
            onnx_parity,
            replay: format!("autovalidate runs replay {}", self.job),
            rollback_of: None,
        }
    }

    fn card(&self, dimensions: usize, figures: &SessionFigures) -> Card {
        let of = |scores: &Scores| crate::hub::ReleaseScores {
            accuracy_at_1: scores.accuracy_at_1,
            mrr_at_10: scores.mrr_at_10,
            recall_at_3: scores.recall_at_3,
        };
        let all = &self.report.held_out.all;
        let row = |domain: &str, before: &Scores, after: &Scores| DomainScores {
            domain: domain.to_owned(),
            queries: after.queries,
            before: of(before),
            after: of(after),
        };
        let mut scores = vec![row("overall", &all.before.overall, &all.after.overall)];
        let left = &self.report.held_out.slice;
        scores.push(row("where the fuzzy matcher gives up", &left.before.overall, &left.after.overall));
        for (domain, after) in &all.after.domains {
            if let Some(before) = all.before.domains.get(domain) {
                scores.push(row(domain, before, after));
            }
        }
        let recipe = &self.lineage.recipe;
        let directions = match recipe.loss {
            Loss::MnrlSymmetric => "both directions",
            Loss::Mnrl => "typo to correction",
        };
        let settings = [
            ("epochs", recipe.epochs.to_string()),
            ("batch size", recipe.batch_size.to_string()),
            ("learning rate", recipe.learning_rate.to_string()),
            ("weight decay", recipe.weight_decay.to_string()),
            ("loss", format!("MultipleNegativesRankingLoss, {directions}, cosine, scale {}", recipe.scale)),
            ("label smoothing", recipe.label_smoothing.to_string()),
            ("hard negatives of each pair", recipe.hard_negatives.to_string()),
            ("pairs with fewer", figures.short_of_negatives.to_string()),
            ("typos made up per name and epoch", self.lineage.synthesis.variants.to_string()),
            ("seed", recipe.seed.to_string()),
            ("started from", self.base.label.clone()),
            ("its weights (SHA-256)", self.lineage.base.weights_sha256.to_string()),
        ];
        let base_model = match self.base.origin {
            ModelOrigin::Hub => self.base.label.parse().ok(),
            ModelOrigin::Release | ModelOrigin::Folder => None,
        };
        Card {
            repo: self.repo.clone(),
            release: self.release.clone(),
            base_model,
            dimensions,
            trained_pairs: self.dataset.training_pairs(),
            held_out_pairs: self.dataset.held_out(),
            synthesized_pairs: figures.synthesized,
            scores,
            verdict: self.report.gate.sentence(),
            settings: settings.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        }
    }
}

/// Writes model folder and zip into `run_dir`, and proves that the exported ONNX model embeds alike.
pub(in crate::run) fn package(
    runtime: &Runtime,
    trained: &mut TrainedModel,
    metadata: &ReleaseMetadata<'_>,
    run_dir: &Path,
) -> Result<Package, RunError> {
    let top = metadata.release.folder();
    let folder = run_dir.join(top);
    std::fs::create_dir_all(&folder).map_err(RunError::file("make", &folder))?;
    trained.export(&folder)?;
    let exported = ModelFolder::open(&folder)?;
    let texts = trained.sample_texts(PARITY_TEXTS);
    let cosine = lowest_cosine(&trained.embed(&texts)?, &embed_exported(runtime, &exported, &texts)?);
    if cosine.is_nan() || cosine < PARITY {
        return Err(RunError::Parity { cosine });
    }
    let weights_sha256 = Some(weights_digest(&exported)?);
    let lineage = Lineage { weights_sha256, ..metadata.lineage.clone() };
    let receipt = metadata.receipt(trained, lineage, exported.config.hidden, cosine);
    let json = serde_json::to_string_pretty(&receipt).map_err(crate::broker::QueueError::from)?;
    let path = folder.join(RECEIPT);
    std::fs::write(&path, &json).map_err(RunError::file("write", &path))?;
    let card = metadata.card(exported.config.hidden, &trained.figures).to_string();
    let path = folder.join("README.md");
    std::fs::write(&path, &card).map_err(RunError::file("write", &path))?;

    let zip = run_dir.join(metadata.release.as_str());
    archive::pack(&folder, top, &zip)?;
    std::fs::remove_dir_all(&folder).map_err(RunError::file("remove", &folder))?;
    let bytes = std::fs::metadata(&zip).map_err(RunError::file("read", &zip))?.len();
    let version = metadata.release.version().to_owned();
    let figures = PackageFigures { version, bytes, weights_sha256, onnx_parity: cosine };
    Ok(Package { zip, card, receipt: json, figures })
}

/// The lowest cosine between rows of two matrices.
fn lowest_cosine(one: &Array2<f32>, other: &Array2<f32>) -> f32 {
    one.rows()
        .into_iter()
        .zip(other.rows())
        .map(|(a, b)| a.dot(&b) / (a.dot(&a).sqrt() * b.dot(&b).sqrt()))
        .fold(1.0, f32::min)
}
