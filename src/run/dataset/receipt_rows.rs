//! The rows of a released model, as its receipt names them.

use std::path::Path;

use super::id_ranges::IdRanges;

/// File name of the receipt in a model folder. The same bytes are stored beside the zip; see
/// [`receipt_path`](crate::hub::ReleaseName::receipt_path).
pub const RECEIPT: &str = "training_report.json";

/// Rows that a model was trained or evaluated with, by its receipt. A third-party model has no receipt. Only
/// these fields are read, so that receipts of every version can be read.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::run) struct KnownRows {
    /// Last row, by its place in the order of inserts: the highest id, where ids are whole numbers. `None`
    /// when the receipt doesn't say.
    pub(in crate::run) last: Option<i64>,
    /// True when the model was trained by a version that made synthetic typos of every held-out
    /// correction, or with that setting.
    pub(in crate::run) new_names: bool,
}

impl KnownRows {
    /// Reads the receipt in a model's folder.
    pub(in crate::run) fn of(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join(RECEIPT)).ok();
        let receipt = text.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        let Some(receipt) = receipt else { return Self::default() };
        let dataset = &receipt["dataset"];
        let ids = || serde_json::from_value::<IdRanges>(dataset["row_ids"].clone()).ok()?.last();
        Self {
            last: dataset["last_insert"].as_i64().or_else(ids),
            new_names: receipt["hold_out"]["new_names"].as_f64().unwrap_or_default() == 0.0,
        }
    }
}
