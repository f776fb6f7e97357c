//! The rows of a released model, as its receipt names them.

use std::path::Path;

use super::id_ranges::IdRanges;

/// File name of the receipt in a model folder. The same bytes are stored beside the zip; see
/// [`receipt_path`](crate::hub::ReleaseName::receipt_path).
pub const RECEIPT: &str = "training_report.json";

/// Returns the last row, by its place in the order of inserts, that the model of this folder was trained or
/// evaluated with: the highest id, where ids are whole numbers. Returns `None` when its receipt doesn't say,
/// as for a third-party model. Reads only these fields, so that receipts of every version can be read.
pub(in crate::run) fn last_row(folder: &Path) -> Option<i64> {
    let text = std::fs::read_to_string(folder.join(RECEIPT)).ok()?;
    let receipt: serde_json::Value = serde_json::from_str(&text).ok()?;
    let last_insert = receipt["dataset"]["last_insert"].as_i64();
    if last_insert.is_some() {
        return last_insert;
    }
    serde_json::from_value::<IdRanges>(receipt["dataset"]["row_ids"].clone()).ok()?.last()
}
