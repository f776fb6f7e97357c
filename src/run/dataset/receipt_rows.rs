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
    let receipt = receipt(folder)?;
    let last_insert = receipt["dataset"]["last_insert"].as_i64();
    if last_insert.is_some() {
        return last_insert;
    }
    serde_json::from_value::<IdRanges>(receipt["dataset"]["row_ids"].clone()).ok()?.last()
}

/// Returns true when the model of this folder was trained by a version that made synthetic typos of every
/// held-out correction, or with that setting.
pub(in crate::run) fn knows_new_names(folder: &Path) -> bool {
    let share = |receipt: serde_json::Value| receipt["hold_out"]["new_names"].as_f64().unwrap_or_default();
    receipt(folder).is_some_and(|receipt| share(receipt) == 0.0)
}

fn receipt(folder: &Path) -> Option<serde_json::Value> {
    serde_json::from_str(&std::fs::read_to_string(folder.join(RECEIPT)).ok()?).ok()
}
