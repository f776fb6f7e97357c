//! Fuzzy string matcher: it answers before the model does, and it is the baseline the model has to
//! beat.
//!
//! The backend answers a query with an exact match from its cache. Without one, it takes the best
//! fuzzy match if its ratio reaches a threshold. Otherwise it asks the model. An exact match has ratio
//! 100, so the model gets exactly the queries whose best ratio is below the threshold.

use std::collections::BTreeMap;

use ndarray::Array1;
use rapidfuzz::distance::indel;

use super::fuzzy_rule::{FuzzyMetric, FuzzyRule};
use super::retrieval::{Rank, rank};
use super::weighted_ratio::weighted_ratio_of;
use super::{Catalog, Query};
use crate::correction::normalize;

/// Returns the similarity of a query and a name as the backend computes it, from 0 to 100: Python's
/// `rapidfuzz.fuzz.token_sort_ratio` for a query with a space or more than ten characters, else
/// `rapidfuzz.fuzz.ratio`. Both texts are lower-cased, with spaces for dashes, underscores and slashes.
pub fn fuzzy_ratio(query: &str, name: &str) -> f64 {
    FuzzyRule::default().ratio(query, name)
}

impl FuzzyRule {
    /// Returns the similarity of a query and a name by this rule, from 0 to 100.
    pub fn ratio(self, query: &str, name: &str) -> f64 {
        FuzzyQuery::new(query, self).ratio(&FuzzyName::new(name, self))
    }
}

/// Returns the words of a text in the order of their characters.
fn sorted(text: &str) -> String {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.sort_unstable();
    words.join(" ")
}

/// A name as the fuzzy matcher compares it.
pub(crate) struct FuzzyName {
    plain: Vec<char>,
    sorted: Vec<char>,
}

impl FuzzyName {
    pub(crate) fn new(name: &str, rule: FuzzyRule) -> Self {
        let plain = rule.compared(name);
        Self { sorted: sorted(&plain).chars().collect(), plain: plain.chars().collect() }
    }
}

/// A query as the fuzzy matcher compares it.
pub(crate) enum FuzzyQuery {
    /// Compared by insertions and deletions, with the words as they are.
    Plain(RatioScorer),
    /// Compared by insertions and deletions, with sorted words.
    Sorted(RatioScorer),
    /// Compared by the weighted ratio.
    Weighted(Vec<char>),
}

impl FuzzyQuery {
    pub(crate) fn new(query: &str, rule: FuzzyRule) -> Self {
        let plain = rule.compared(query);
        match (rule.metric, rule.metric.sorts_words(&plain)) {
            (FuzzyMetric::WeightedRatio, _) => Self::Weighted(plain.chars().collect()),
            (_, true) => Self::Sorted(RatioScorer::new(sorted(&plain).chars())),
            (_, false) => Self::Plain(RatioScorer::new(plain.chars())),
        }
    }

    /// Returns the similarity of a name, from 0 to 100. The name is prepared by the same rule.
    pub(crate) fn ratio(&self, name: &FuzzyName) -> f64 {
        match self {
            Self::Plain(scorer) => scorer.ratio(name.plain.iter().copied()),
            Self::Sorted(scorer) => scorer.ratio(name.sorted.iter().copied()),
            Self::Weighted(query) => weighted_ratio_of(query, &name.plain),
        }
    }
}

/// Scorer that compares one text with many others by Python's `rapidfuzz.fuzz.ratio`.
///
/// This does not use `fuzz::RatioBatchComparator`: in rapidfuzz 0.5.0 that type divides by the
/// longer length, so its result differs from `fuzz::ratio`.
pub(crate) struct RatioScorer(indel::BatchComparator<char>);

impl RatioScorer {
    /// Creates a scorer for a normalized text.
    fn new(normal: impl Iterator<Item = char> + Clone) -> Self {
        Self(indel::BatchComparator::new(normal))
    }

    /// Returns the similarity of another normalized text, from 0 to 100.
    fn ratio(&self, normal: impl DoubleEndedIterator<Item = char> + Clone) -> f64 {
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
    /// Returns the result for these ratios of all names, given the position of the right one.
    pub(super) fn of(ratios: &Array1<f64>, right: Option<usize>) -> Self {
        Self {
            rank: right.and_then(|right| rank(ratios.view(), right)),
            best: ratios.iter().copied().fold(0.0, f64::max),
        }
    }

    /// True when the backend asks the model.
    pub fn leaves_to_model(&self, rule: FuzzyRule) -> bool {
        self.best < rule.threshold
    }
}

/// Fuzzy matcher over the names of a catalog.
pub struct FuzzyMatcher<'a> {
    /// The catalog.
    pub(super) catalog: &'a Catalog,
    /// Rule of comparison.
    pub(super) rule: FuzzyRule,
    /// Names of each domain, in catalog order.
    names: BTreeMap<&'a str, Vec<FuzzyName>>,
}

impl<'a> FuzzyMatcher<'a> {
    /// Prepares the names of a catalog.
    pub fn new(catalog: &'a Catalog, rule: FuzzyRule) -> Self {
        let prepared = |names: &[String]| names.iter().map(|name| FuzzyName::new(name, rule)).collect();
        let names = catalog.domains().map(|(domain, names)| (domain, prepared(names))).collect();
        Self { catalog, rule, names }
    }

    /// Looks up a query by ratio. Names with equal ratios are ranked in catalog order.
    pub fn search(&self, query: &Query) -> FuzzyMatch {
        FuzzyMatch::of(&self.ratios(query), self.catalog.position(query))
    }

    /// Returns the ratios of the names of the query's domain, in catalog order.
    pub(super) fn ratios(&self, query: &Query) -> Array1<f64> {
        let names = self.names.get(normalize(&query.domain).as_str());
        let scorer = FuzzyQuery::new(&query.typo, self.rule);
        names.into_iter().flatten().map(|name| scorer.ratio(name)).collect()
    }
}
