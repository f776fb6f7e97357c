//! Counts of what became of each row. They add up to the number of rows read.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::DatasetSummary;
use crate::correction::Refusal;

/// Number of rows, by what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Number of rows read.
    pub read: usize,
    /// Number of rows refused because of their text, by reason.
    pub refused: BTreeMap<Refusal, usize>,
    /// Number of rows left out because another correction of the same typo won the vote.
    pub outvoted: usize,
    /// Number of rows left out because no correction of their typo won the vote.
    pub undecided: usize,
    /// Number of rows that repeat another row's pair.
    pub repeated: usize,
    /// Number of rows to train on.
    pub trained_on: usize,
    /// Number of held-out rows.
    pub held_out: usize,
}

impl From<&DatasetSummary> for RowCounts {
    fn from(summary: &DatasetSummary) -> Self {
        Self {
            read: summary.rows,
            refused: summary.refused_by_reason.clone(),
            outvoted: summary.outvoted,
            undecided: summary.undecided,
            repeated: summary.repeated,
            trained_on: summary.training_pairs(),
            held_out: summary.held_out(),
        }
    }
}

impl fmt::Display for RowCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, refused, outvoted, undecided, repeated, trained_on, held_out } = self;
        write!(formatter, "rows: {read} read, {} refused", refused.values().sum::<usize>())?;
        if !refused.is_empty() {
            let reasons: Vec<String> =
                refused.iter().map(|(reason, rows)| format!("{reason} {rows}")).collect();
            write!(formatter, " ({})", reasons.join(", "))?;
        }
        write!(
            formatter,
            ", {outvoted} outvoted, {undecided} undecided, {repeated} repeated, {trained_on} trained on, {held_out} \
             held out"
        )
    }
}
