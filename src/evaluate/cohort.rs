//! Further groups of queries by the age of their rows: is the model good at what people type today, and has it
//! forgotten what earlier versions were judged by?
//!
//! Both follow from row ids, which grow with time; no clock is asked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many of the newest rows are kept out of a run's training and asked instead. Unlike the [hold-out by
/// hash](super::HoldOut) it moves on: the next run trains on them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewestWindow {
    /// This share of the rows, from 0 to 1, rounded down.
    Share(f64),
    /// This many rows.
    Count(usize),
}

impl Default for NewestWindow {
    /// One row in twenty: what they could teach comes one run later.
    fn default() -> Self {
        Self::Share(0.05)
    }
}

/// A text that is no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a share below 1, such as 0.05, nor a whole number of rows")]
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
    /// The first id of the window among a run's rows. None when the window is empty. Never all rows: the oldest
    /// is always trained on.
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

/// Which queries are new and which are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cohorts {
    /// Rows from this id on are the newest window; see [`NewestWindow::first_row`].
    pub newest_from: Option<i64>,
    /// Held-out rows up to this id were there when an earlier version was judged. The hold-out is fixed by hash, so
    /// they were its test too: a fall on them is forgetting.
    pub legacy_until: Option<i64>,
}

impl Cohorts {
    /// Whether a row belongs to the newest window.
    pub fn is_newest(&self, row: i64) -> bool {
        self.newest_from.is_some_and(|first| row >= first)
    }

    /// Whether a held-out row is one that earlier versions were judged by.
    pub fn is_legacy(&self, row: i64) -> bool {
        !self.is_newest(row) && self.legacy_until.is_some_and(|last| row <= last)
    }
}
