//! What went into a run's dataset, in numbers. Holds no text.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::correction::Refusal;
use crate::run::dataset::IdRanges;
use crate::run::dataset::NameList;

/// What went into a dataset: counts and a hash, no text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// Rows read.
    pub rows: usize,
    /// Rows refused by their text; refused rows are normally quarantined before they get here.
    pub refused: usize,
    /// Rows left out because most rows correct the same typo to something else.
    #[serde(default)]
    pub outvoted: usize,
    /// Rows left out because no correction of their typo has a majority.
    #[serde(default)]
    pub undecided: usize,
    /// Rows in quarantine when the rows were read, by reason; they are not among the rows.
    #[serde(default)]
    pub quarantined: BTreeMap<Refusal, u64>,
    /// Rows that repeat another row's pair.
    pub repeated: usize,
    /// Pairs trained on, by domain.
    pub training: BTreeMap<String, usize>,
    /// Held-out new typos of known corrections.
    pub new_typos: usize,
    /// Held-out corrections that are in no training pair, with all their typos.
    pub unseen_corrections: usize,
    /// Held-out pairs of the newest window that would else be trained on.
    #[serde(default)]
    pub newest: usize,
    /// The first id of the newest window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_from: Option<i64>,
    /// Names in the catalog.
    #[serde(rename = "catalogue")]
    pub catalog: usize,
    /// Ids of the rows read.
    pub row_ids: IdRanges,
    /// Ids of those whose pair was only asked.
    #[serde(default)]
    pub held_out_ids: IdRanges,
    /// Ids of those that were left out: refused or in conflict. All others were trained on.
    #[serde(default)]
    pub left_out_ids: IdRanges,
    /// How many of them no row has: they come from `CATALOG`.
    #[serde(default)]
    pub names_added: usize,
    /// What `CATALOG` named when the rows were read, if it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<NameList>,
    /// SHA-256 of the rows read, in the order of their ids, and of the names added.
    pub hash: String,
}

impl DatasetSummary {
    /// Pairs trained on.
    pub fn training_pairs(&self) -> usize {
        self.training.values().sum()
    }

    /// Held-out pairs.
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
