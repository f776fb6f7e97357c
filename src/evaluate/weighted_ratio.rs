//! The weighted ratio of rapidfuzz for Python (`fuzz.WRatio`), which many apps use as it is: the best of
//! several ratios, each with a weight.
//!
//! Rewritten from the library's documented rules, since its crate for Rust has the plain ratio only. A test
//! compares it with the library itself.

use std::collections::BTreeSet;

use rapidfuzz::distance::indel;

/// Weight of ratios of words beside that of the whole texts.
const OF_WORDS: f64 = 0.95;
/// Factor between the texts' lengths from which on parts of the longer text are compared.
const MUCH_LONGER: f64 = 1.5;

/// Returns the weighted ratio of two texts, from 0 to 100; 0 when one of them is empty.
pub fn weighted_ratio(one: &str, other: &str) -> f64 {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    weighted_ratio_of(&one, &other)
}

/// Returns the weighted ratio of two texts, given as their characters.
pub(super) fn weighted_ratio_of(one: &[char], other: &[char]) -> f64 {
    let (shorter, longer) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    if shorter.is_empty() {
        return 0.0;
    }
    let times_longer = longer.len() as f64 / shorter.len() as f64;
    let (words, other_words) = (Words::of(one), Words::of(other));
    let whole = ratio(one, other);
    if times_longer < MUCH_LONGER {
        let of_words = ratio(&words.sorted(), &other_words.sorted()).max(words.ratio(&other_words));
        return whole.max(of_words * OF_WORDS);
    }
    let of_parts = if times_longer <= 8.0 { 0.9 } else { 0.6 };
    let of_words = words.partial_ratio(&other_words);
    whole.max(partial_ratio(one, other) * of_parts).max(of_words * OF_WORDS * of_parts)
}

/// Returns the similarity by insertions and deletions, from 0 to 100.
fn ratio(one: &[char], other: &[char]) -> f64 {
    indel::normalized_similarity(one.iter().copied(), other.iter().copied()) * 100.0
}

/// Returns the best ratio of the shorter text with any part of the longer one that is as long as itself,
/// or shorter at its ends.
fn partial_ratio(one: &[char], other: &[char]) -> f64 {
    let best = if one.len() <= other.len() { in_parts(one, other) } else { in_parts(other, one) };
    if one.len() == other.len() && best < 100.0 { best.max(in_parts(other, one)) } else { best }
}

fn in_parts(shorter: &[char], longer: &[char]) -> f64 {
    if shorter.is_empty() {
        return if longer.is_empty() { 100.0 } else { 0.0 };
    }
    let scorer = indel::BatchComparator::new(shorter.iter().copied());
    let score = |part: &[char]| scorer.normalized_similarity(part.iter().copied()) * 100.0;
    let (short, long) = (shorter.len(), longer.len());
    let ends_well = |part: &&[char]| part.last().is_some_and(|last| shorter.contains(last));
    let begins_well = |part: &&[char]| part.first().is_some_and(|first| shorter.contains(first));
    let beginnings = (1..short).map(|end| &longer[..end]).filter(ends_well);
    let windows = (0..long - short).map(|begin| &longer[begin..begin + short]).filter(ends_well);
    let ends = (long - short..long).map(|begin| &longer[begin..]).filter(begins_well);
    beginnings.chain(windows).chain(ends).map(score).fold(0.0, f64::max)
}

/// Words of a text, sorted.
struct Words<'t>(Vec<&'t [char]>);

impl<'t> Words<'t> {
    fn of(text: &'t [char]) -> Self {
        let mut words: Vec<&[char]> =
            text.split(|c| c.is_whitespace()).filter(|word| !word.is_empty()).collect();
        words.sort_unstable();
        Self(words)
    }

    fn sorted(&self) -> Vec<char> {
        self.0.join(&' ')
    }

    /// Returns the different words of both texts, and those of only one: this text's and the other's.
    fn compare(&self, other: &Self) -> [Vec<char>; 3] {
        let (own, others): (BTreeSet<_>, BTreeSet<_>) =
            (self.0.iter().copied().collect(), other.0.iter().copied().collect());
        let join = |words: Vec<&[char]>| words.join(&' ');
        [
            join(own.intersection(&others).copied().collect()),
            join(own.difference(&others).copied().collect()),
            join(others.difference(&own).copied().collect()),
        ]
    }

    /// Returns the best ratio among the common words, those with this text's other words, and those with
    /// the other text's (`token_set_ratio`).
    fn ratio(&self, other: &Self) -> f64 {
        if self.0.is_empty() || other.0.is_empty() {
            return 0.0;
        }
        let [common, own, others] = self.compare(other);
        if !common.is_empty() && (own.is_empty() || others.is_empty()) {
            return 100.0;
        }
        // A space separates the common words from the others.
        let space = usize::from(!common.is_empty());
        let [with_own, with_others] = [&own, &others].map(|words| common.len() + space + words.len());
        let similarity = |distance: usize, lengths: usize| match lengths {
            0 => 100.0,
            lengths => 100.0 - 100.0 * distance as f64 / lengths as f64,
        };
        let distance = indel::distance(own.iter().copied(), others.iter().copied());
        let both = similarity(distance, with_own + with_others);
        if common.is_empty() {
            return both;
        }
        let beside = |with: usize, words: &[char]| similarity(space + words.len(), common.len() + with);
        both.max(beside(with_own, &own)).max(beside(with_others, &others))
    }

    /// Returns the best partial ratio of all words, sorted, and of those that only one text has
    /// (`partial_token_ratio`).
    fn partial_ratio(&self, other: &Self) -> f64 {
        let [common, own, others] = self.compare(other);
        if !common.is_empty() {
            return 100.0;
        }
        let all = partial_ratio(&self.sorted(), &other.sorted());
        // Without repeated words, these are the same texts.
        if own == self.sorted() && others == other.sorted() {
            all
        } else {
            all.max(partial_ratio(&own, &others))
        }
    }
}
