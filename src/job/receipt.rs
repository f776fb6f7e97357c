//! The receipt that travels in the zip: what went in, what was done, what came out, and how to do it again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::evaluate::Report;
use crate::synthesis::SynthesisSettings;
use crate::train::{Recipe, Summary};

use super::dataset::DatasetSummary;

/// File name of the receipt in a model folder.
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
    /// The last message of the stream that was read, if the rows came from the queue.
    pub last_sequence: Option<u64>,
    /// The settings of the training.
    pub recipe: Recipe,
    /// How typos were made up.
    pub synthesis: SynthesisSettings,
    /// What training did.
    pub training: Summary,
    /// Before and after.
    pub report: Report,
    /// Lowest cosine between the trained model's embeddings and those of the exported ONNX model.
    pub onnx_parity: f32,
    /// The trainer's version.
    pub trainer: String,
    /// The command that trains the same thing again.
    pub replay: String,
}

/// The newest row that the model of this folder was made and judged with; none where its receipt doesn't say so, as
/// with a model of somebody else's. Only this one field is read, so that receipts of any version serve.
pub(super) fn last_row(folder: &Path) -> Option<i64> {
    let text = std::fs::read_to_string(folder.join(RECEIPT)).ok()?;
    let receipt: serde_json::Value = serde_json::from_str(&text).ok()?;
    receipt["dataset"]["row_ids"].as_array()?.last()?[1].as_i64()
}
