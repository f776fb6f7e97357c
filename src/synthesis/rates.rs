//! Rates of the slips, learned from real pairs.
//!
//! A name without a space can't lose one, so plain counts would say more about the names than about
//! the people. A rate here is a weight: of the slips that are possible in a text, each happens in
//! proportion to its weight. The weights are the maximum-likelihood weights for the observed slips
//! (the Luce choice model, fitted with the steps of Hunter 2004, "MM algorithms for generalized
//! Bradley-Terry models"). A prior worth a few slips is added, so that no weight is ever zero and a
//! small number of pairs changes little.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alignment::Correction;
use super::edit::{Typing, edits};
use super::letters::lower;
use super::{Slip, SlipSet};

/// Number of slips the prior is worth.
const PRIOR_SLIPS: f64 = 40.0;
/// Number of fitting rounds; the weights converge within a few.
const ROUNDS: usize = 25;
/// Maximum number of slips in a drawn typo that need not be hard.
pub(super) const MOST_SLIPS: usize = 3;

/// Rates at which people make each slip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlipRates {
    /// Weight of each kind among the kinds that are possible in a text. The weights sum to 1.
    pub kinds: BTreeMap<Slip, f64>,
    /// Shares of typos with one, two and three slips. The shares sum to 1.
    pub counts: [f64; MOST_SLIPS],
    /// Share of typos written in lower case although the name has capitals.
    pub lower_case: f64,
    /// Share of typos written in capitals although the name has lower-case letters.
    pub capitals: f64,
    /// Number of real pairs these were learned from.
    pub pairs: usize,
    /// Number of real pairs that taught nothing, because the typo is another word altogether.
    #[serde(default)]
    pub other_words: usize,
}

impl Default for SlipRates {
    /// Rates of every kind, assumed before any real pair exists: rounded means over lists of what
    /// people wrote for makes, places and words. `docs/explanation/quality.md` has the lists.
    fn default() -> Self {
        let kinds = [
            (Slip::Doubled, 0.03),
            (Slip::Dropped, 0.15),
            (Slip::Swapped, 0.08),
            (Slip::Joined, 0.13),
            (Slip::Phonetic, 0.03),
            (Slip::Neighbor, 0.03),
            (Slip::Split, 0.005),
            (Slip::Stray, 0.02),
            (Slip::Undoubled, 0.075),
            (Slip::Vowel, 0.02),
            (Slip::Digit, 0.01),
            (Slip::Unpunctuated, 0.08),
            (Slip::Truncated, 0.05),
            (Slip::Abbreviated, 0.02),
            (Slip::WordMissing, 0.1),
            (Slip::WordAdded, 0.06),
            (Slip::Substituted, 0.025),
            (Slip::Inserted, 0.085),
        ];
        Self::by_assumption(kinds.into(), [0.83, 0.13, 0.04])
    }
}

impl SlipRates {
    /// Returns the rates of a set of slips that are assumed before any real pair exists.
    pub fn assumed(slips: SlipSet) -> Self {
        match slips {
            SlipSet::Full => Self::default(),
            SlipSet::Original => Self::original(),
        }
    }

    /// Rates by judgment, which the first versions assumed: mostly of the hand.
    fn original() -> Self {
        let kinds = [
            (Slip::Doubled, 0.12),
            (Slip::Dropped, 0.20),
            (Slip::Swapped, 0.15),
            (Slip::Joined, 0.08),
            (Slip::Neighbor, 0.22),
            (Slip::Phonetic, 0.14),
            (Slip::Split, 0.02),
            (Slip::Stray, 0.07),
        ];
        Self::by_assumption(kinds.into(), [0.70, 0.25, 0.05])
    }

    fn by_assumption(kinds: BTreeMap<Slip, f64>, counts: [f64; MOST_SLIPS]) -> Self {
        Self { kinds, counts, lower_case: 0.60, capitals: 0.02, pairs: 0, other_words: 0 }
    }

    /// Learns the rates from `(typo, corrected)` pairs. A pair whose typo is
    /// [another word](super::Alignment::is_another_word) is counted and teaches nothing. Without any
    /// pair, the result is what is [assumed](Self::assumed).
    pub fn learn<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, typing: Typing) -> Self {
        let prior = Self::assumed(typing.slips);
        let mut seen: BTreeMap<Slip, f64> = BTreeMap::new();
        // Number of slips in texts where exactly these kinds of slip are possible.
        let mut chances: BTreeMap<Vec<Slip>, f64> = BTreeMap::new();
        let mut counts = prior.counts.map(|share| share * PRIOR_SLIPS);
        let mut case = Case::default();
        let (mut learned, mut other_words) = (0, 0);
        // Pairs of one correction come together: its edits are the same for each of them.
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_unstable_by_key(|(_, corrected)| *corrected);
        for pairs in pairs.chunk_by(|(_, one), (_, other)| one == other) {
            let Some((_, corrected)) = pairs.first() else { continue };
            let (correction, possible) = (Correction::new(corrected, typing), possible(corrected, typing));
            for (typo, corrected) in pairs {
                let alignment = correction.align(typo);
                let slips = alignment.slips.len();
                if alignment.is_another_word {
                    other_words += 1;
                    continue;
                }
                case.count(typo, corrected);
                let Some(count) = slips.checked_sub(1) else { continue };
                learned += 1;
                counts[count.min(MOST_SLIPS - 1)] += 1.0;
                match chances.get_mut(&possible) {
                    Some(chances) => *chances += slips as f64,
                    None => _ = chances.insert(possible.clone(), slips as f64),
                }
                for slip in alignment.slips {
                    *seen.entry(slip).or_default() += 1.0;
                }
            }
        }
        let total: f64 = counts.iter().sum();
        Self {
            kinds: fit(&prior.kinds, &seen, &chances),
            counts: counts.map(|count| count / total),
            lower_case: case.share(case.lower, prior.lower_case),
            capitals: case.share(case.capitals, prior.capitals),
            pairs: learned,
            other_words,
        }
    }
}

/// Returns the kinds of slip that are possible in a text.
fn possible(text: &str, typing: Typing) -> Vec<Slip> {
    let text = lower(&text.chars().collect::<Vec<_>>());
    typing.slips.kinds().filter(|slip| !edits(*slip, &text, typing).is_empty()).collect()
}

fn fit(
    prior: &BTreeMap<Slip, f64>,
    seen: &BTreeMap<Slip, f64>,
    chances: &BTreeMap<Vec<Slip>, f64>,
) -> BTreeMap<Slip, f64> {
    let mut weights = prior.clone();
    for _ in 0..ROUNDS {
        let mut next = BTreeMap::new();
        for (slip, share) in prior {
            // The prior counts as slips in a text where every kind is possible, so its weights sum
            // to 1.
            let exposure: f64 = chances
                .iter()
                .filter(|(possible, _)| possible.contains(slip))
                .map(|(possible, slips)| {
                    slips / possible.iter().filter_map(|slip| weights.get(slip)).sum::<f64>()
                })
                .sum();
            let happened = seen.get(slip).copied().unwrap_or_default() + share * PRIOR_SLIPS;
            next.insert(*slip, happened / (exposure + PRIOR_SLIPS));
        }
        let total: f64 = next.values().sum();
        next.values_mut().for_each(|weight| *weight /= total);
        weights = next;
    }
    weights
}

/// Counts of the case in which typos of mixed-case names were written.
#[derive(Default)]
struct Case {
    pairs: f64,
    lower: f64,
    capitals: f64,
}

impl Case {
    fn count(&mut self, typo: &str, corrected: &str) {
        let (upper, small) = cases(corrected);
        if upper && small {
            self.pairs += 1.0;
            match cases(typo) {
                (false, true) => self.lower += 1.0,
                (true, false) => self.capitals += 1.0,
                _ => {}
            }
        }
    }

    fn share(&self, count: f64, prior: f64) -> f64 {
        (count + prior * PRIOR_SLIPS) / (self.pairs + PRIOR_SLIPS)
    }
}

/// Returns `(has capitals, has lower-case letters)` of a text.
fn cases(text: &str) -> (bool, bool) {
    (text.chars().any(char::is_uppercase), text.chars().any(char::is_lowercase))
}
