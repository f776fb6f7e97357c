//! The lineage of a pair: the versions that descend from it, according to the receipts that are
//! stored with the releases.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::hub::ReleaseName;

use crate::row_identity::{TEXT_SERIES, is_text, number_in, series_of};
use crate::run::dataset::IdRanges;

/// Use of a pair by a version itself, regardless of what the version inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
pub enum PairUse {
    /// The version trained on the pair, or on another row with the same texts.
    #[strum(serialize = "learned from it")]
    Learned,
    /// The version used the pair only as a held-out query.
    #[strum(serialize = "used it only as a held-out query")]
    HeldOut,
    /// The version read the pair and left it out: it was refused, or outvoted by conflicting rows.
    #[strum(serialize = "read it and left it out")]
    LeftOut,
    /// The version never read the pair.
    #[strum(serialize = "never read it")]
    Absent,
    /// The version has no receipt, or a receipt from before receipts listed held-out rows.
    #[strum(serialize = "unknown: no receipt says")]
    Unknown,
}

/// Relation of one version to a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PairLineage {
    /// Name of the version.
    pub version: String,
    /// Use of the pair by the version itself.
    pub used: PairUse,
    /// Version that training started from; `None` when that was not a release.
    pub base: Option<String>,
    /// Nearest ancestor that learned from the pair.
    pub inherited_from: Option<String>,
    /// True when the version must be trained again in order to remove the pair; `None` when that is
    /// unknown.
    pub rebuild: Option<bool>,
    /// True while the version's zip is on the Hub.
    pub on_hub: bool,
}

/// Fields of a receipt that are read. All of them may be missing, because a release may come from
/// an earlier program.
#[derive(Debug, Default, Deserialize)]
struct ReceiptFields {
    base_model: Option<String>,
    #[serde(default)]
    dataset: RowIds,
}

#[derive(Debug, Default, Deserialize)]
struct RowIds {
    row_ids: Option<IdRanges>,
    held_out_ids: Option<IdRanges>,
    left_out_ids: Option<IdRanges>,
}

impl ReceiptFields {
    fn used(&self, pair: i64) -> PairUse {
        let RowIds { row_ids: Some(read), held_out_ids, left_out_ids } = &self.dataset else {
            return PairUse::Unknown;
        };
        if !read.contains(pair) {
            return PairUse::Absent;
        }
        match (held_out_ids, left_out_ids) {
            (Some(held_out), _) if held_out.contains(pair) => PairUse::HeldOut,
            (_, Some(left_out)) if left_out.contains(pair) => PairUse::LeftOut,
            (Some(_), Some(_)) => PairUse::Learned,
            _ => PairUse::Unknown,
        }
    }
}

/// Returns the numbers of all rows that have had this id in the table, as far as versions read them:
/// the ids may have started anew. The number of the first series is always among them.
pub fn numbers_of(id: i64, receipts: &BTreeMap<String, Bytes>) -> Vec<i64> {
    let read: Vec<IdRanges> = receipts
        .values()
        .filter_map(|bytes| serde_json::from_slice::<ReceiptFields>(bytes).ok()?.dataset.row_ids)
        .collect();
    let last_series = match is_text(id) {
        true => TEXT_SERIES,
        false => read.iter().filter_map(IdRanges::last).map(series_of).max().unwrap_or_default(),
    };
    let numbers = (0..=last_series).filter_map(|series| number_in(id, series));
    numbers.filter(|number| *number == id || read.iter().any(|ids| ids.contains(*number))).collect()
}

/// Follows a pair through all versions, oldest first. `receipts` maps versions to their receipts,
/// and may include versions that were deleted from the Hub; `releases` are the versions on the Hub.
pub fn trace_pair(
    pair: i64,
    releases: &[ReleaseName],
    receipts: &BTreeMap<String, Bytes>,
) -> Vec<PairLineage> {
    let mut versions: BTreeMap<String, bool> =
        receipts.keys().map(|version| (version.clone(), false)).collect();
    versions.extend(releases.iter().map(|name| (name.version().to_owned(), true)));
    let mut found: BTreeMap<String, PairLineage> = BTreeMap::new();
    // A version starts from an older version, which sorts before it.
    for (version, on_hub) in versions {
        let receipt = receipts.get(&version);
        let fields = receipt.and_then(|bytes| serde_json::from_slice::<ReceiptFields>(bytes).ok());
        let fields = fields.unwrap_or_default();
        let used = fields.used(pair);
        let base = fields.base_model.as_deref().and_then(ReleaseName::from_path);
        let base = base.map(|name| name.version().to_owned());
        let before = base.as_ref().map(|base| found.get(base));
        let inherited_from = match before.flatten() {
            Some(before) if before.used == PairUse::Learned => Some(before.version.clone()),
            Some(before) => before.inherited_from.clone(),
            None => None,
        };
        let rebuild = match (used, before) {
            (PairUse::Learned, _) => Some(true),
            _ if inherited_from.is_some() => Some(true),
            (PairUse::Unknown, _) | (_, Some(None)) => None,
            (_, Some(Some(before))) => before.rebuild,
            (_, None) => Some(false),
        };
        found.insert(version.clone(), PairLineage { version, used, base, inherited_from, rebuild, on_hub });
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(base: &str, rows: &str, held_out: &str, left_out: &str) -> Bytes {
        let receipt = serde_json::json!({
            "base_model": base,
            "dataset": { "row_ids": rows, "held_out_ids": held_out, "left_out_ids": left_out },
        });
        receipt.to_string().into()
    }

    fn name(version: &str) -> ReleaseName {
        format!("finetuned-embedding-model-{version}.zip").parse().unwrap()
    }

    #[test]
    fn a_pair_is_followed_through_bases_and_rollbacks() {
        let receipts = BTreeMap::from([
            ("01".to_owned(), receipt("acme/base", "1..5", "4", "5")),
            ("02".to_owned(), receipt(&name("01").path(), "1..9", "4,7", "")),
            ("03".to_owned(), receipt("acme/base", "6..9", "7", "")),
            ("05".to_owned(), receipt(&name("02").path(), "6..9", "", "")),
            ("06".to_owned(), receipt(&name("04").path(), "6..9", "", "")),
            ("07".to_owned(), receipt(&name("00").path(), "6..9", "", "")),
        ]);
        let releases = [name("02"), name("03"), name("04"), name("05"), name("06"), name("07")];
        let of = |pair: i64| -> Vec<(String, PairUse, Option<String>, Option<bool>)> {
            let traced = trace_pair(pair, &releases, &receipts);
            traced.into_iter().map(|one| (one.version, one.used, one.inherited_from, one.rebuild)).collect()
        };
        let line = |version: &str, used, from: Option<&str>, rebuild| {
            (version.to_owned(), used, from.map(str::to_owned), rebuild)
        };
        use PairUse::{Absent, HeldOut, Learned, LeftOut, Unknown};
        assert_eq!(
            of(1),
            [
                line("01", Learned, None, Some(true)),
                line("02", Learned, Some("01"), Some(true)),
                line("03", Absent, None, Some(false)),
                line("04", Unknown, None, None),
                line("05", Absent, Some("02"), Some(true)),
                line("06", Absent, None, None),
                line("07", Absent, None, None),
            ]
        );
        let used =
            |pair| of(pair).into_iter().map(|(_, used, _, rebuild)| (used, rebuild)).collect::<Vec<_>>();
        assert_eq!(used(4)[..2], [(HeldOut, Some(false)), (HeldOut, Some(false))]);
        assert_eq!(used(5)[..2], [(LeftOut, Some(false)), (Learned, Some(true))]);
        assert!(!trace_pair(1, &releases, &receipts)[0].on_hub);
    }

    #[test]
    fn an_id_that_was_used_again_is_several_rows() {
        let (second, third) = (number_in(4, 1).unwrap(), number_in(4, 2).unwrap());
        let rows = format!("1..9,{second},{}..{third}", third - 2);
        let receipts = BTreeMap::from([("01".to_owned(), receipt("acme/base", &rows, "", ""))]);
        assert_eq!(numbers_of(4, &receipts), [4, second, third]);
        assert_eq!(numbers_of(9, &receipts), [9]);
        assert_eq!(numbers_of(3, &receipts), [3, third - 1]);
        assert_eq!(numbers_of(77, &BTreeMap::new()), [77]);
    }

    #[test]
    fn a_receipt_that_names_no_held_out_rows_leaves_the_use_unknown() {
        let receipt = br#"{"base_model":"x","dataset":{"row_ids":[[1,3]]}}"#;
        let receipts = BTreeMap::from([("01".to_owned(), Bytes::from_static(receipt))]);
        let of = |pair| trace_pair(pair, &[name("01")], &receipts)[0].clone();
        assert_eq!((of(2).used, of(2).rebuild), (PairUse::Unknown, None));
        assert_eq!((of(9).used, of(9).rebuild), (PairUse::Absent, Some(false)));
    }
}
