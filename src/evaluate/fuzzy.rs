//! The string metric that answers before the model does, and is the bar the model has to clear.
//!
//! The backend answers a query by an exact match in its cache, else by the best fuzzy ratio if that reaches
//! [`FUZZY_THRESHOLD`], else by the model. An exact match has ratio 100, so the model meets exactly the queries
//! whose best ratio is below the threshold.

use ndarray::Array1;
use rapidfuzz::distance::indel;
use rapidfuzz::fuzz;

use super::retrieval::{Rank, rank};
use super::{Catalog, Query};
use crate::correction::normalize;

/// The best ratio, 0 to 100, from which the fuzzy matcher answers and the model is not asked.
pub const FUZZY_THRESHOLD: f64 = 75.0;

/// How alike two texts are, from 0 to 100: `rapidfuzz.fuzz.ratio` of Python on normalized, lower case text.
pub fn fuzzy_ratio(one: &str, other: &str) -> f64 {
    100.0 * fuzz::ratio(normalize(one).chars(), normalize(other).chars())
}

/// A text to be compared with many, by the same ratio.
///
/// Not `fuzz::RatioBatchComparator`, which in rapidfuzz 0.5.0 divides by the longer length and is no `fuzz::ratio`.
pub(crate) struct FuzzyScorer(indel::BatchComparator<char>);

impl FuzzyScorer {
    /// For a text that is normalized.
    pub(crate) fn new(normal: impl Iterator<Item = char> + Clone) -> Self {
        Self(indel::BatchComparator::new(normal))
    }

    /// How alike another normalized text is, from 0 to 100.
    pub(crate) fn ratio(&self, normal: impl DoubleEndedIterator<Item = char> + Clone) -> f64 {
        100.0 * self.0.normalized_similarity(normal)
    }
}

/// What the fuzzy matcher makes of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FuzzyMatch {
    /// Where the right name came in by ratio.
    pub rank: Rank,
    /// The best ratio of all names, right or wrong, 0 to 100; 0 without a name.
    pub best: f64,
}

impl FuzzyMatch {
    /// Whether the backend asks the model.
    pub fn leaves_to_model(&self) -> bool {
        self.best < FUZZY_THRESHOLD
    }
}

/// Looks a query up by ratio. Names that score the same are ranked in the order of the catalog.
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
