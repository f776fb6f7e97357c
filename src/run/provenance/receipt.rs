//! The receipt that travels in a release's zip: the input of the run, its settings, its results,
//! and the command that replays it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evaluate::{Report, Scores, ServingAdvice};
use crate::hub::{Digest, Entry, Metrics, ReleaseName, ReleaseScores, Serving};
use autovalidate_finetune::train::Summary;

use crate::run::dataset::DatasetSummary;
use crate::run::fine_tune::NameCoverage;
use crate::run::provenance::Lineage;

/// Input, settings and results of a run. Contains counts, ids and hashes, but no text of a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Id of the job.
    pub job: String,
    /// Version of the release: its timestamp.
    pub version: String,
    /// Time at which the receipt was written, in RFC 3339.
    pub made_at: String,
    /// Name of the model that training started from.
    pub base_model: String,
    /// Counts, ids and hashes of the rows.
    pub dataset: DatasetSummary,
    /// Everything besides the rows that determines the weights.
    #[serde(flatten)]
    pub lineage: Lineage,
    /// Dimension of the model's embeddings.
    pub dimension: usize,
    /// Summary of the training.
    pub training: Summary,
    /// Results of the evaluation.
    pub report: Report,
    /// Lowest cosine between the trained model's embeddings and those of the exported ONNX model.
    pub onnx_parity: f32,
    /// Texts and tokenizations that `onnx_parity` was measured with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity_proof: Option<ParityProof>,
    /// Coverage of the names by the model's tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_coverage: Option<NameCoverage>,
    /// Command that trains the same model again.
    pub replay: String,
    /// Version that this release repeats, if it is a rollback. All other fields then describe the
    /// repeated version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<RollbackOf>,
}

/// Texts and tokenizations of a comparison between the trained and the exported model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParityProof {
    /// Number of texts.
    pub texts: usize,
    /// Ways in which each text was tokenized, all with the same ids.
    pub tokenized_as: Vec<String>,
}

/// Version that a rollback repeats, with the circumstances of the rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackOf {
    /// Repeated version.
    pub version: String,
    /// SHA-256 of the repeated version's zip.
    pub sha256: Option<Digest>,
    /// Version that was live before the rollback.
    pub instead_of: String,
    /// Time of the rollback, in RFC 3339.
    pub at: Timestamp,
}

impl Receipt {
    /// Returns the entry of the repo's index for the release that carries this receipt.
    pub fn entry(&self, release: &ReleaseName, published_at: Timestamp) -> Entry {
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
                before: release_scores(&all.before.overall),
                after: release_scores(&all.after.overall),
            }),
            serving: self.report.serving.as_ref().map(release_serving),
            published_at,
            rollback_of: self.rollback_of.as_ref().map(|rollback| rollback.version.clone()),
            other: serde_json::Map::new(),
        }
    }
}

/// Returns the scores that the index and the model card show.
pub(in crate::run) fn release_scores(scores: &Scores) -> ReleaseScores {
    let Scores { accuracy_at_1, mrr_at_10, recall_at_3, .. } = *scores;
    ReleaseScores { accuracy_at_1, mrr_at_10, recall_at_3 }
}

/// Returns the advice on serving that the index and the model card show.
pub(in crate::run) fn release_serving(advice: &ServingAdvice) -> Serving {
    let ServingAdvice { today, by_mixture, by_threshold, .. } = advice;
    let errors = [today, by_mixture, by_threshold].map(|served| served.standard_error);
    Serving {
        queries: advice.queries,
        rule: advice.rule,
        today: today.accuracy,
        cosine_weight: advice.cosine_weight,
        ratio_weight: 1.0 - advice.cosine_weight,
        by_mixture: by_mixture.accuracy,
        threshold: advice.threshold,
        by_threshold: by_threshold.accuracy,
        standard_error: errors.into_iter().fold(0.0, f64::max),
    }
}
