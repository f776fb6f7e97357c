//! Summary of a run's dataset: counts, ids and hashes. Never holds the text of a pair.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::correction::Refusal;
use crate::run::dataset::{IdRanges, NameList};

/// Counts, ids and hashes of a dataset, without any text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// Number of rows read.
    pub rows: usize,
    /// Number of rows refused because of their text. Such rows are normally quarantined and don't
    /// get here.
    pub refused: usize,
    /// Number of rows left out because another correction of the same typo won the vote.
    #[serde(default)]
    pub outvoted: usize,
    /// Number of rows left out because no correction of their typo won the vote.
    #[serde(default)]
    pub undecided: usize,
    /// Number of rows in quarantine when the rows were read, by reason. They are not counted in
    /// `rows`.
    #[serde(default)]
    pub quarantined: BTreeMap<Refusal, u64>,
    /// Number of rows that repeat another row's pair.
    pub repeated: usize,
    /// Number of training pairs, by domain.
    pub training: BTreeMap<String, usize>,
    /// Number of held-out new typos of known corrections.
    pub new_typos: usize,
    /// Number of held-out pairs whose correction occurs in no training pair.
    pub unseen_corrections: usize,
    /// Number of pairs that are held out only because they are in the newest window.
    #[serde(default)]
    pub newest: usize,
    /// First id of the newest window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_from: Option<i64>,
    /// Number of names in the catalog.
    #[serde(rename = "catalogue")]
    pub catalog: usize,
    /// Ids of the rows read.
    pub row_ids: IdRanges,
    /// Ids of the rows whose pair is held out.
    #[serde(default)]
    pub held_out_ids: IdRanges,
    /// Ids of the rows that were left out: refused or in conflict. Rows that are neither left out
    /// nor held out were trained on.
    #[serde(default)]
    pub left_out_ids: IdRanges,
    /// Number of names in the catalog that occur in no row: they come from `CATALOG`.
    #[serde(default)]
    pub names_added: usize,
    /// List of names that `CATALOG` had when the rows were read; `None` when it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<NameList>,
    /// SHA-256 of the rows read, in the order of their ids, and of the names added.
    pub hash: String,
}

impl DatasetSummary {
    /// Returns the number of training pairs.
    pub fn training_pairs(&self) -> usize {
        self.training.values().sum()
    }

    /// Returns the number of held-out pairs.
    pub fn held_out(&self) -> usize {
        self.new_typos + self.unseen_corrections + self.newest
    }
}

impl fmt::Display for DatasetSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} rows: {} pairs to train on, {} held out, {} names",
            self.rows,
            self.training_pairs(),
            self.held_out(),
            self.catalog
        )
    }
}
