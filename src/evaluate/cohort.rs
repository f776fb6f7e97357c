//! Cohorts: groups of queries by the age of their rows. The newest rows show how good the model is
//! at the typos people make today. The legacy rows show whether it has forgotten queries that
//! judged earlier versions.
//!
//! Places in the order of inserts define both cohorts: row ids, where they grow with time, or the times of
//! the inserts. No clock is read.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Number of newest rows that a run evaluates on instead of training on them. Unlike the [hold-out
/// by hash](super::HoldOut), this window moves: the next run trains on these rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewestWindow {
    /// Share of the rows, from 0 to 1. The row count is rounded down.
    Share(f64),
    /// Number of rows.
    Count(usize),
}

impl Default for NewestWindow {
    /// One row in twenty. The model learns from these rows one run later.
    fn default() -> Self {
        Self::Share(0.05)
    }
}

/// Error for a text that is not a valid window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a share below 1, such as 0.05, or a whole number of rows")]
pub struct NoWindow;

impl FromStr for NewestWindow {
    type Err = NoWindow;

    fn from_str(text: &str) -> Result<Self, NoWindow> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Count(count));
        }
        let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
        share.map(Self::Share).ok_or(NoWindow)
    }
}

impl fmt::Display for NewestWindow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(formatter, "{share}"),
            Self::Count(count) => write!(formatter, "{count}"),
        }
    }
}

impl NewestWindow {
    /// Returns the first place of the window among those of a run's rows, or `None` when the window is empty.
    /// The window never covers all rows: the oldest row is always trained on.
    pub fn first_row(self, rows: impl IntoIterator<Item = i64>) -> Option<i64> {
        let mut rows: Vec<i64> = rows.into_iter().collect();
        rows.sort_unstable();
        rows.dedup();
        let count = match self {
            Self::Share(share) => (rows.len() as f64 * share.clamp(0.0, 1.0)) as usize,
            Self::Count(count) => count,
        };
        let count = count.min(rows.len().saturating_sub(1));
        if count == 0 { None } else { rows.get(rows.len() - count).copied() }
    }
}

/// Places in the order of inserts that divide queries into newest and legacy, and what the live model
/// knows of new names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cohorts {
    /// First place of the newest window; see [`NewestWindow::first_row`].
    pub newest_from: Option<i64>,
    /// Last place of the held-out rows that already existed when an earlier version was judged. The
    /// hold-out is fixed by hash, so these rows judged that version too. A worse score on them is
    /// forgetting.
    pub legacy_until: Option<i64>,
    /// True when the live model was trained on synthetic typos of the names that are new in this run.
    /// Versions before [`HoldOut::new_names`](super::HoldOut::new_names) kept none out. The gate doesn't
    /// compare on them then.
    #[serde(default)]
    pub live_knows_new_names: bool,
}

impl Cohorts {
    /// True when a row belongs to the newest window.
    pub fn is_newest(&self, row: i64) -> bool {
        self.newest_from.is_some_and(|first| row >= first)
    }

    /// True when a held-out row also judged earlier versions.
    pub fn is_legacy(&self, row: i64) -> bool {
        !self.is_newest(row) && self.legacy_until.is_some_and(|last| row <= last)
    }
}
