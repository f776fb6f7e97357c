//! Fuzzy string matcher: it answers before the model does, and it is the baseline the model has to
//! beat.
//!
//! The backend answers a query with an exact match from its cache. Without one, it takes the best
//! fuzzy match if its ratio reaches [`FUZZY_THRESHOLD`]. Otherwise it asks the model. An exact
//! match has ratio 100, so the model gets exactly the queries whose best ratio is below the
//! threshold.

use ndarray::Array1;
use rapidfuzz::distance::indel;
use rapidfuzz::fuzz;

use super::retrieval::{Rank, rank};
use super::{Catalog, Query};
use crate::correction::normalize;

/// Ratio, from 0 to 100, at which the fuzzy matcher answers and the model is not asked.
pub const FUZZY_THRESHOLD: f64 = 75.0;

/// Returns the similarity of two texts, from 0 to 100: Python's `rapidfuzz.fuzz.ratio` on
/// normalized, lower-case text.
pub fn fuzzy_ratio(one: &str, other: &str) -> f64 {
    100.0 * fuzz::ratio(normalize(one).chars(), normalize(other).chars())
}

/// Scorer that compares one text with many others by the same ratio as [`fuzzy_ratio`].
///
/// This does not use `fuzz::RatioBatchComparator`: in rapidfuzz 0.5.0 that type divides by the
/// longer length, so its result differs from `fuzz::ratio`.
pub(crate) struct FuzzyScorer(indel::BatchComparator<char>);

impl FuzzyScorer {
    /// Creates a scorer for a normalized text.
    pub(crate) fn new(normal: impl Iterator<Item = char> + Clone) -> Self {
        Self(indel::BatchComparator::new(normal))
    }

    /// Returns the similarity of another normalized text, from 0 to 100.
    pub(crate) fn ratio(&self, normal: impl DoubleEndedIterator<Item = char> + Clone) -> f64 {
        100.0 * self.0.normalized_similarity(normal)
    }
}

/// Result of the fuzzy matcher for one query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FuzzyMatch {
    /// Rank of the right name by ratio.
    pub rank: Rank,
    /// Best ratio of all names, right or wrong, from 0 to 100; 0 when the domain has no name.
    pub best: f64,
}

impl FuzzyMatch {
    /// True when the backend asks the model.
    pub fn leaves_to_model(&self) -> bool {
        self.best < FUZZY_THRESHOLD
    }
}

/// Looks up a query by ratio. Names with equal ratios are ranked in catalog order.
pub fn fuzzy_match(query: &Query, catalog: &Catalog) -> FuzzyMatch {
    let Some(names) = catalog.names(&query.domain) else { return FuzzyMatch { rank: None, best: 0.0 } };
    let scorer = FuzzyScorer::new(normalize(&query.typo).chars());
    let ratios: Array1<f64> =
        names.spelled.iter().map(|name| scorer.ratio(normalize(name).chars())).collect();
    FuzzyMatch {
        rank: names.position(&query.corrected).and_then(|right| rank(ratios.view(), right)),
        best: ratios.iter().copied().fold(0.0, f64::max),
    }
}
