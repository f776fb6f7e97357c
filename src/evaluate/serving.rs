//! Advice on serving: how to combine the model with the fuzzy matcher, found on the run's own held-out
//! queries.
//!
//! The backend asks the model only where the fuzzy matcher's best ratio is below a threshold. Two numbers
//! can be chosen: that threshold, or the weight `a` of a mixture `a * cosine + (1 - a) * ratio` by which
//! all names are ranked. Each is judged by cross-validation: chosen on four fifths of the queries, it
//! answers the other fifth.

use std::collections::BTreeMap;
use std::fmt;

use ndarray::{Array1, ArrayView1, Zip};
use serde::{Deserialize, Serialize};

use super::fuzzy::{FuzzyMatch, FuzzyMatcher};
use super::fuzzy_rule::FuzzyRule;
use super::retrieval::rank;
use super::string_metrics::{MOST_COMPARISONS, comparisons};
use super::{Catalog, Query};
use crate::default_value::is_default;

/// Smallest number of queries that advice is given for.
const FEWEST: usize = 50;
/// Number of parts of the cross-validation.
const PARTS: usize = 5;
/// Number of equal steps between ratio alone and cosine alone.
const STEPS: usize = 20;
/// Thresholds that are tried, from the model alone (nothing reaches 101) to the fuzzy matcher alone.
const THRESHOLDS: [f64; 14] =
    [101.0, 100.0, 95.0, 90.0, 85.0, 80.0, 75.0, 70.0, 65.0, 60.0, 55.0, 50.0, 40.0, 0.0];

/// Share of queries that a way of serving answers right.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ServedAccuracy {
    /// Share of right answers.
    pub accuracy: f64,
    /// Standard error of that share.
    pub standard_error: f64,
}

/// Advice on serving, with what each way brings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ServingAdvice {
    /// Number of queries.
    pub queries: usize,
    /// Rule of the backend's fuzzy matcher. Records from before this setting lack it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rule: FuzzyRule,
    /// The backend's present way: the fuzzy matcher from its threshold on, else the model.
    pub today: ServedAccuracy,
    /// The fuzzy matcher alone.
    pub fuzzy: ServedAccuracy,
    /// The model alone.
    pub model: ServedAccuracy,
    /// Ratio from which the fuzzy matcher should answer; above 100 when the model should answer all.
    pub threshold: f64,
    /// The fuzzy matcher from that threshold on, else the model; cross-validated.
    pub by_threshold: ServedAccuracy,
    /// Weight of the cosine in the mixture, from 0 to 1; the ratio, divided by 100, has the rest.
    pub cosine_weight: f64,
    /// All names ranked by the mixture; cross-validated.
    pub by_mixture: ServedAccuracy,
}

/// Answers to one query: whether each way of serving finds the right name.
struct Answers {
    today: bool,
    by_threshold: Vec<bool>,
    by_weight: Vec<bool>,
}

/// Trials of each way of serving a model, query by query.
pub struct ServingTrials<'a> {
    queries: &'a [Query],
    matcher: FuzzyMatcher<'a>,
    /// Of very many queries, every `step`th is tried.
    step: usize,
    /// Answers by the query's index. A query whose right name is not in the catalog has no right answer.
    answers: BTreeMap<usize, Answers>,
}

impl<'a> ServingTrials<'a> {
    /// Prepares the trials of one model.
    pub fn new(queries: &'a [Query], catalog: &'a Catalog, rule: FuzzyRule) -> Self {
        let step = comparisons(queries, catalog).div_ceil(MOST_COMPARISONS).max(1);
        Self { queries, matcher: FuzzyMatcher::new(catalog, rule), step, answers: BTreeMap::new() }
    }

    /// Tries the query with this index, given the model's cosines with all names of its domain and the
    /// position of the right name ([`super::model_ranks_with`]).
    pub fn add(&mut self, query: usize, cosines: ArrayView1<'_, f32>, right: usize) {
        if !query.is_multiple_of(self.step) {
            return;
        }
        let ratios = self.matcher.ratios(&self.queries[query]);
        let fuzzy = FuzzyMatch::of(&ratios, Some(right));
        let cosines = cosines.mapv(f64::from);
        let is_first = |scores: &Array1<f64>| rank(scores.view(), right) == Some(1);
        let model = is_first(&cosines);
        let mixed = |step: usize| {
            let weight = step as f64 / STEPS as f64;
            let mix = Zip::from(&cosines).and(&ratios);
            is_first(&mix.map_collect(|cosine, ratio| weight * cosine + (1.0 - weight) * ratio / 100.0))
        };
        let by_threshold =
            |threshold: f64| if fuzzy.best >= threshold { fuzzy.rank == Some(1) } else { model };
        let answers = Answers {
            today: by_threshold(self.matcher.rule.threshold),
            by_threshold: THRESHOLDS.map(by_threshold).to_vec(),
            by_weight: (0..=STEPS).map(mixed).collect(),
        };
        self.answers.insert(query, answers);
    }

    /// Returns the advice for the model, or `None` when fewer than fifty queries were tried.
    pub fn advice(self) -> Option<ServingAdvice> {
        let answers: Vec<Answers> = self.answers.into_values().collect();
        if answers.len() < FEWEST {
            return None;
        }
        let at = |threshold: f64| THRESHOLDS.iter().position(|one| *one == threshold).unwrap_or_default();
        let share = |place: usize| accuracy(answers.iter().map(|answers| answers.by_threshold[place]));
        let (thresholds, weights): (Vec<&[bool]>, Vec<&[bool]>) =
            answers.iter().map(|answers| (&*answers.by_threshold, &*answers.by_weight)).unzip();
        Some(ServingAdvice {
            queries: answers.len(),
            rule: self.matcher.rule,
            today: accuracy(answers.iter().map(|answers| answers.today)),
            fuzzy: share(at(0.0)),
            model: share(at(101.0)),
            threshold: THRESHOLDS[best_choice(&thresholds, None)],
            by_threshold: cross_validated(&thresholds),
            cosine_weight: best_choice(&weights, None) as f64 / STEPS as f64,
            by_mixture: cross_validated(&weights),
        })
    }
}

impl fmt::Display for ServingAdvice {
    /// Writes the advice in one line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { today, by_threshold, by_mixture, threshold, cosine_weight, .. } = self;
        let from =
            if *threshold > 100.0 { "never".to_owned() } else { format!("from ratio {threshold:.0} on") };
        write!(
            out,
            "serving: {today} as the backend serves today; {by_mixture} ranking by {cosine_weight:.2} cosine + {:.2} \
             ratio; {by_threshold} with the fuzzy matcher answering {from} (cross-validated, {} typos)",
            1.0 - cosine_weight,
            self.queries
        )
    }
}

impl fmt::Display for ServedAccuracy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.3} \u{b1} {:.3}", self.accuracy, self.standard_error)
    }
}

/// Returns the choice that answers most queries right, each row being a query and each column a choice.
/// Of several equally good ones, it is the middle of the longest run of neighbors, which is farthest from
/// worse choices. Queries of the part `left_out` don't count.
fn best_choice(queries: &[&[bool]], left_out: Option<usize>) -> usize {
    let choices = queries.first().map_or(0, |row| row.len());
    let counted =
        || queries.iter().enumerate().filter(|(at, _)| left_out.is_none_or(|part| at % PARTS != part));
    let right = |choice: usize| counted().filter(|(_, row)| row[choice]).count();
    let counts: Vec<usize> = (0..choices).map(right).collect();
    let most = counts.iter().max().copied().unwrap_or_default();
    let (mut longest, mut first) = (0..0, 0);
    for (choice, count) in counts.into_iter().enumerate() {
        if count < most {
            first = choice + 1;
        } else if choice + 1 - first > longest.len() {
            longest = first..choice + 1;
        }
    }
    longest.start + longest.len() / 2
}

/// Returns the accuracy of the best choice on queries that had no part in choosing it.
fn cross_validated(queries: &[&[bool]]) -> ServedAccuracy {
    let chosen: Vec<usize> = (0..PARTS).map(|part| best_choice(queries, Some(part))).collect();
    accuracy(queries.iter().enumerate().map(|(at, row)| row[chosen[at % PARTS]]))
}

fn accuracy(right: impl Iterator<Item = bool>) -> ServedAccuracy {
    let (mut count, mut hits) = (0.0, 0.0);
    for right in right {
        count += 1.0;
        hits += f64::from(u8::from(right));
    }
    let accuracy = if count > 0.0 { hits / count } else { 0.0 };
    // With two right and two wrong answers added (Agresti and Coull 1998), a share of 1 is not certain.
    let adjusted: f64 = (hits + 2.0) / (count + 4.0);
    ServedAccuracy { accuracy, standard_error: (adjusted * (1.0 - adjusted) / (count + 4.0)).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_best_choices_is_taken_and_the_left_out_part_has_no_say() {
        let query = |right: [u8; 5]| right.map(|one| one == 1).to_vec();
        let rows =
            [[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]].map(query);
        let rows: Vec<&[bool]> = rows.iter().map(Vec::as_slice).collect();
        assert_eq!(best_choice(&rows, None), 2);
        // Only the first query tells the choices apart; when it is left out, all are alike.
        let gap = [[1, 0, 1, 1, 1]].map(query);
        assert_eq!(best_choice(&[&gap[0]], None), 3, "the middle of the longest run");
        let rows = [[0, 0, 0, 0, 1], [1, 1, 1, 1, 1]].map(query);
        let rows: Vec<&[bool]> = rows.iter().map(Vec::as_slice).collect();
        assert_eq!((best_choice(&rows, None), best_choice(&rows, Some(0))), (4, 2));
        let validated = cross_validated(&rows);
        assert!((validated.accuracy - 0.5).abs() < 1e-12, "chosen without it, the first is answered wrong");
        assert_eq!(best_choice(&[], None), 0);
    }

    #[test]
    fn a_share_has_the_standard_error_of_a_share() {
        let found = accuracy([true, true, true, false].into_iter());
        assert!((found.accuracy - 0.75).abs() < 1e-12);
        assert!((found.standard_error - (0.625_f64 * 0.375 / 8.0).sqrt()).abs() < 1e-12);
        assert!(accuracy([true; 50].into_iter()).standard_error > 0.02, "fifty of fifty are not certainty");
        assert!(accuracy(std::iter::empty()).accuracy == 0.0);
    }
}
