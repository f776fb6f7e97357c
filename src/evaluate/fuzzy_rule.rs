//! The rule by which the backend's fuzzy matcher compares texts and decides whether it answers.

use serde::{Deserialize, Serialize};

use crate::correction::normalize;
use crate::default_value::is_default;

/// Ratio, from 0 to 100, at which the backend's fuzzy matcher answers and the model is not asked.
const THRESHOLD: f64 = 75.0;
/// Number of characters up to which the backend compares a query without spaces as it is. For any other
/// query, it sorts the words of the query and of each name.
const LONGEST_WORD: usize = 10;

/// Similarity of two texts, by its name in Python's rapidfuzz.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum FuzzyMetric {
    /// The backend's: `fuzz.token_sort_ratio` for a query with a space or more than ten characters, else
    /// `fuzz.ratio`.
    #[default]
    ByLength,
    /// `fuzz.ratio`.
    Ratio,
    /// `fuzz.token_sort_ratio`.
    TokenSortRatio,
    /// `fuzz.WRatio`.
    WeightedRatio,
}

impl FuzzyMetric {
    /// True when the words of this query, and of each name that it is compared with, are sorted.
    pub(super) fn sorts_words(self, query: &str) -> bool {
        match self {
            Self::ByLength => query.contains(' ') || query.chars().count() > LONGEST_WORD,
            Self::TokenSortRatio => true,
            Self::Ratio | Self::WeightedRatio => false,
        }
    }
}

/// Rule of the fuzzy matcher that answers before the model. The default is the backend's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FuzzyRule {
    /// Similarity by which names are ranked.
    #[serde(skip_serializing_if = "is_default")]
    pub metric: FuzzyMetric,
    /// Similarity of the best name, from 0 to 100, from which on the fuzzy matcher answers. The model is
    /// asked below it.
    pub threshold: f64,
    /// Compares dashes, underscores and slashes as spaces.
    pub dashes_are_spaces: bool,
}

impl Default for FuzzyRule {
    fn default() -> Self {
        Self { metric: FuzzyMetric::default(), threshold: THRESHOLD, dashes_are_spaces: true }
    }
}

impl FuzzyRule {
    /// Returns a text as it is compared: in lower case, without spaces around it.
    pub(super) fn compared(&self, text: &str) -> String {
        match self.dashes_are_spaces {
            true => normalize(&text.replace(['-', '\u{2013}', '\u{2014}', '_', '/'], " ")),
            false => normalize(text),
        }
    }
}
