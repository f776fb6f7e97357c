//! Summary of a run's dataset: counts, ids and hashes. Never holds the text of a pair.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::correction::Refusal;
use crate::default_value::is_default;
use crate::run::dataset::{IdRanges, NameList};
use crate::text::label;

/// Number of domains whose training pairs the outline of a summary counts one by one.
const MOST_DOMAINS: usize = 16;
/// Longest list of ids in the outline of a summary, in bytes.
const MOST_ID_BYTES: usize = 1024;

/// Counts, ids and hashes of a dataset, without any text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// Number of rows read.
    pub rows: usize,
    /// Number of rows refused because of their text. Such rows are normally quarantined and don't
    /// get here.
    pub refused: usize,
    /// Number of rows refused, by reason; empty in summaries of earlier versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused_by_reason: BTreeMap<Refusal, usize>,
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
    /// First row of the newest window: its place in the order of inserts, which is its id where ids are
    /// whole numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_from: Option<i64>,
    /// Place of the last row in the order of inserts, where ids are texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_insert: Option<i64>,
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
    /// Number of texts in the index of names that share a row of `CATALOG`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub indexed: usize,
    /// Number of names in the catalog that occur in no row: they come from `CATALOG`.
    #[serde(default)]
    pub names_added: usize,
    /// List of names that `CATALOG` had when the rows were read; `None` when it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<NameList>,
    /// SHA-256 of the rows read, in the order of their ids, and of the names added.
    pub hash: String,
    /// Counts of what an outline leaves out; `None` for a complete summary, as in a receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<Omitted>,
}

/// Counts of what the outline of a summary leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    /// Number of domains that `training` lacks.
    pub domains: usize,
    /// Number of training pairs of these domains.
    pub pairs: usize,
    /// Number of ids that `row_ids` lacks: the highest ones.
    pub row_ids: u64,
    /// Number of ids that `held_out_ids` lacks: the highest ones.
    pub held_out_ids: u64,
    /// Number of ids that `left_out_ids` lacks: the highest ones.
    pub left_out_ids: u64,
}

impl DatasetSummary {
    /// Returns a sentence on the names that training does not learn because no catalog gives them; `None`
    /// with a catalog.
    pub fn without_catalog(&self) -> Option<String> {
        self.names.is_none().then(|| {
            format!(
                "CATALOG is not set, so the model learns the {} names of these rows only; with a catalog, it also \
                 learns those that nobody has mistyped yet",
                self.catalog
            )
        })
    }

    /// Returns the summary without the figures whose number grows with the rows and domains: it
    /// keeps the largest domains and the lowest ids, and counts the others. Run records and events
    /// are messages of limited size; a receipt is a file and has the complete summary.
    #[must_use]
    pub fn outline(&self) -> Self {
        let mut omitted = self.omitted.unwrap_or_default();
        let mut domains: Vec<_> = self.training.iter().collect();
        domains.sort_by_key(|(name, pairs)| (Reverse(**pairs), *name));
        let mut training = BTreeMap::new();
        for (place, (domain, pairs)) in domains.into_iter().enumerate() {
            let name = label(domain);
            if place < MOST_DOMAINS && !training.contains_key(&name) {
                training.insert(name, *pairs);
            } else {
                omitted.domains += 1;
                omitted.pairs += pairs;
            }
        }
        let head = |ids: &IdRanges, omitted: &mut u64| {
            let head = ids.head(MOST_ID_BYTES);
            *omitted += ids.count() - head.count();
            head
        };
        let row_ids = head(&self.row_ids, &mut omitted.row_ids);
        let held_out_ids = head(&self.held_out_ids, &mut omitted.held_out_ids);
        let left_out_ids = head(&self.left_out_ids, &mut omitted.left_out_ids);
        let omitted = (omitted != Omitted::default()).then_some(omitted);
        Self { training, row_ids, held_out_ids, left_out_ids, omitted, ..self.clone() }
    }

    /// Returns the number of training pairs.
    pub fn training_pairs(&self) -> usize {
        self.training.values().sum::<usize>() + self.omitted.map_or(0, |omitted| omitted.pairs)
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
