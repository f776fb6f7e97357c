//! The receipt that travels in the zip: what went in, what was done, what came out, and how to do it again.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evaluate::Report;
use crate::hub::{Digest, Entry, Metrics, ReleaseName, ReleaseScores};
use autovalidate_finetune::train::Summary;

use crate::run::dataset::DatasetSummary;
use crate::run::dataset::IdRanges;
use crate::run::provenance::Lineage;

/// File name of the receipt in a model folder. The same bytes lie beside the zip, see [`ReleaseName::receipt_path`].
pub const RECEIPT: &str = "training_report.json";

/// What went in, what was done, what came out. Counts, ids and hashes; no text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The job.
    pub job: String,
    /// The release's stamp.
    pub version: String,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// The model training started from.
    pub base_model: String,
    /// The rows.
    pub dataset: DatasetSummary,
    /// What decided the weights beside the rows.
    #[serde(flatten)]
    pub lineage: Lineage,
    /// Length of the model's vectors.
    pub dimension: usize,
    /// What training did.
    pub training: Summary,
    /// Before and after.
    pub report: Report,
    /// Lowest cosine between the trained model's embeddings and those of the exported ONNX model.
    pub onnx_parity: f32,
    /// The command that trains the same thing again.
    pub replay: String,
    /// What this release repeats, if it is a rollback; all else is then as it was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<RollbackOf>,
}

/// What a rollback repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackOf {
    /// The version.
    pub version: String,
    /// SHA-256 of its zip.
    pub sha256: Option<Digest>,
    /// The version that was live until then.
    pub instead_of: String,
    /// When, RFC 3339.
    pub at: Timestamp,
}

impl Receipt {
    /// What the repo's index says of the release that carries this receipt.
    pub fn entry(&self, release: &ReleaseName, published_at: Timestamp) -> Entry {
        let of = |scores: &crate::evaluate::Scores| ReleaseScores {
            accuracy_at_1: scores.accuracy_at_1,
            mrr_at_10: scores.mrr_at_10,
            recall_at_3: scores.recall_at_3,
        };
        let all = &self.report.held_out.all;
        Entry {
            version: release.version().to_owned(),
            path: release.path(),
            sha256: None,
            size: 0,
            weights_sha256: self.lineage.weights_sha256,
            dimension: Some(self.dimension),
            base_model: Some(self.base_model.clone()),
            verdict: Some(self.report.gate.verdict.name().to_owned()),
            metrics: Some(Metrics {
                queries: all.after.overall.queries,
                before: of(&all.before.overall),
                after: of(&all.after.overall),
            }),
            published_at,
            rollback_of: self.rollback_of.as_ref().map(|rollback| rollback.version.clone()),
            other: serde_json::Map::new(),
        }
    }
}

/// The newest row that the model of this folder was made and judged with; none where its receipt doesn't say so, as
/// with a model of somebody else's. Only this one field is read, so that receipts of any version serve.
pub(in crate::run) fn last_row(folder: &Path) -> Option<i64> {
    let text = std::fs::read_to_string(folder.join(RECEIPT)).ok()?;
    let receipt: serde_json::Value = serde_json::from_str(&text).ok()?;
    serde_json::from_value::<IdRanges>(receipt["dataset"]["row_ids"].clone()).ok()?.last()
}
