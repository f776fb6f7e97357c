//! The bar for the model: the best of several string metrics, which need no training.
//!
//! Each metric ranks the names for the run's own queries, and so does the mean of each two. The best of
//! them is picked by the same queries, so the bar is a little higher than any one metric.

use std::collections::{BTreeMap, HashMap};

use ndarray::Array1;
use rapidfuzz::distance::{damerau_levenshtein, jaro_winkler};
use serde::{Deserialize, Serialize};

use super::fuzzy::{FuzzyMatch, FuzzyMatcher};
use super::retrieval::{Rank, Scores, rank};
use super::weighted_ratio::weighted_ratio;
use super::{Catalog, Query};
use crate::correction::normalize;

/// Largest number of comparisons of a query with a name. Of more, evenly spread queries are compared.
pub(super) const MOST_COMPARISONS: usize = 1_000_000;
/// Lengths of the character n-grams.
const NGRAMS: std::ops::RangeInclusive<usize> = 1..=3;

/// A string metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StringMetric {
    /// The fuzzy matcher's own ratio ([`super::fuzzy_ratio`]).
    Ratio,
    /// Normalized Damerau-Levenshtein similarity.
    DamerauLevenshtein,
    /// Jaro-Winkler similarity.
    JaroWinkler,
    /// Cosine of tf-idf vectors of 1- to 3-grams of characters.
    Ngrams,
    /// Weighted ratio of rapidfuzz ([`super::weighted_ratio`]).
    WeightedRatio,
}

impl StringMetric {
    const ALL: [Self; 5] =
        [Self::Ratio, Self::DamerauLevenshtein, Self::JaroWinkler, Self::Ngrams, Self::WeightedRatio];

    /// Returns the metric's name in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            Self::DamerauLevenshtein => "Damerau-Levenshtein",
            Self::JaroWinkler => "Jaro-Winkler",
            Self::Ngrams => "tf-idf of 1-3-grams",
            Self::WeightedRatio => "weighted ratio",
        }
    }
}

/// Scores of a string metric, or of the mean of two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricScores {
    /// The metric, or the two whose mean is meant.
    pub metrics: Vec<StringMetric>,
    /// Scores on all compared queries.
    pub all: Scores,
    /// Scores on those that the fuzzy matcher leaves to the model.
    pub slice: Scores,
}

impl MetricScores {
    /// Returns the metric's name in sentences.
    pub fn name(&self) -> String {
        let names: Vec<&str> = self.metrics.iter().map(|metric| metric.name()).collect();
        if names.len() > 1 { format!("mean of {}", names.join(" and ")) } else { names.concat() }
    }
}

/// Returns the scores of each metric, and of the mean of each two, on the queries.
pub(super) fn scores(queries: &[Query], matcher: &FuzzyMatcher<'_>) -> Vec<MetricScores> {
    let catalog = matcher.catalog;
    let combinations: Vec<Vec<usize>> = (0..StringMetric::ALL.len())
        .flat_map(|one| (one..StringMetric::ALL.len()).map(move |other| (one, other)))
        .map(|(one, other)| if one == other { vec![one] } else { vec![one, other] })
        .collect();
    let spelled: BTreeMap<&str, DomainNames> =
        catalog.domains().map(|(domain, names)| (domain, DomainNames::new(names))).collect();
    let step = comparisons(queries, catalog).div_ceil(MOST_COMPARISONS).max(1);

    // Ranks by each combination, with whether the query is left to the model.
    let mut ranks: Vec<Vec<(Rank, bool)>> = vec![Vec::new(); combinations.len()];
    for query in queries.iter().step_by(step) {
        let ratios = matcher.ratios(query);
        let right = catalog.position(query);
        let left = FuzzyMatch::of(&ratios, right).leaves_to_model(matcher.rule);
        let names = spelled.get(normalize(&query.domain).as_str());
        let by_metric = names.map(|names| names.similarities(&query.typo, ratios / 100.0));
        for (combination, ranks) in combinations.iter().zip(&mut ranks) {
            let ranked = by_metric.as_ref().zip(right).and_then(|(by_metric, right)| {
                let sum =
                    combination.iter().fold(Array1::zeros(by_metric[0].len()), |sum: Array1<f64>, metric| {
                        sum + &by_metric[*metric]
                    });
                rank(sum.view(), right)
            });
            ranks.push((ranked, left));
        }
    }
    let of = |(combination, ranks): (Vec<usize>, Vec<(Rank, bool)>)| MetricScores {
        metrics: combination.into_iter().map(|metric| StringMetric::ALL[metric]).collect(),
        all: Scores::of(ranks.iter().map(|(rank, _)| *rank)),
        slice: Scores::of(ranks.iter().filter(|(_, left)| *left).map(|(rank, _)| *rank)),
    };
    combinations.into_iter().zip(ranks).map(of).collect()
}

/// Returns the number of comparisons when each query is compared with each name of its domain.
pub(super) fn comparisons(queries: &[Query], catalog: &Catalog) -> usize {
    let names = |query: &Query| catalog.names(&query.domain).map_or(0, |names| names.spelled.len());
    queries.iter().map(names).sum()
}

/// Names of a domain, as the metrics compare them.
struct DomainNames {
    texts: Vec<String>,
    normal: Vec<Vec<char>>,
    /// Number and inverse document frequency of each n-gram.
    ngrams: HashMap<String, (usize, f64)>,
    /// Names that have each n-gram, with its weight in their vector of unit length.
    postings: Vec<Vec<(usize, f64)>>,
}

impl DomainNames {
    fn new(names: &[String]) -> Self {
        let texts: Vec<String> = names.iter().map(|name| normalize(name)).collect();
        let normal: Vec<Vec<char>> = texts.iter().map(|name| name.chars().collect()).collect();
        let counted: Vec<BTreeMap<String, f64>> = normal.iter().map(|name| counts(name)).collect();
        let mut documents: BTreeMap<&String, f64> = BTreeMap::new();
        counted.iter().flat_map(BTreeMap::keys).for_each(|ngram| *documents.entry(ngram).or_default() += 1.0);
        // Smoothed, as scikit-learn does it: as if one more name had every n-gram.
        let total = 1.0 + names.len() as f64;
        let inverse = |count: f64| (total / (1.0 + count)).ln() + 1.0;
        let ngrams: HashMap<String, (usize, f64)> = documents
            .into_iter()
            .enumerate()
            .map(|(number, (ngram, count))| (ngram.clone(), (number, inverse(count))))
            .collect();
        let mut postings = vec![Vec::new(); ngrams.len()];
        for (name, counts) in counted.iter().enumerate() {
            for (number, weight) in vector(counts, &ngrams) {
                postings[number].push((name, weight));
            }
        }
        Self { texts, normal, ngrams, postings }
    }

    /// Returns the similarity of each name by each metric, from 0 to 1. `ratios` are those of the fuzzy
    /// matcher.
    fn similarities(&self, query: &str, ratios: Array1<f64>) -> [Array1<f64>; 5] {
        let text = normalize(query);
        let query: Vec<char> = text.chars().collect();
        let edits = damerau_levenshtein::BatchComparator::new(query.iter().copied());
        let jaro = jaro_winkler::BatchComparator::new(query.iter().copied());
        let each =
            |similarity: &dyn Fn(&[char]) -> f64| self.normal.iter().map(|name| similarity(name)).collect();
        let mut cosines = Array1::zeros(self.normal.len());
        for (number, weight) in vector(&counts(&query), &self.ngrams) {
            for (name, of_name) in &self.postings[number] {
                cosines[*name] += weight * of_name;
            }
        }
        [
            ratios,
            each(&|name| edits.normalized_similarity(name.iter().copied())),
            each(&|name| jaro.normalized_similarity(name.iter().copied())),
            cosines,
            self.texts.iter().map(|name| weighted_ratio(&text, name) / 100.0).collect(),
        ]
    }
}

/// Counts the n-grams of a text.
fn counts(text: &[char]) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for length in NGRAMS {
        for ngram in text.windows(length) {
            *counts.entry(ngram.iter().collect()).or_default() += 1.0;
        }
    }
    counts
}

/// Returns the known n-grams of a text with their weights, as a vector of unit length.
fn vector(counts: &BTreeMap<String, f64>, ngrams: &HashMap<String, (usize, f64)>) -> Vec<(usize, f64)> {
    let known = counts.iter().filter_map(|(ngram, count)| Some((ngrams.get(ngram)?, count)));
    let mut vector: Vec<(usize, f64)> =
        known.map(|((number, inverse), count)| (*number, count * inverse)).collect();
    let length = vector.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|(_, weight)| *weight /= length);
    }
    vector
}
