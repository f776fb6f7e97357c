//! The synthesizer against real lists of misspelled names; `benches/data/README.md` names their
//! sources.
//!
//! The slips of a list are compared with those of the synthesizer, as shares of each kind, by the
//! total variation distance: the share of slips that would have to be of another kind.

use std::collections::BTreeMap;

use autovalidate::evaluate::Catalog;
use autovalidate::synthesis::{Keyboard, Slip, SlipRates, SlipSet, SynthesisSettings, Typing, align};

use super::synthesizer;

const FULL: Typing = Typing { keyboard: Keyboard::Qwerty, slips: SlipSet::Full };
const ORIGINAL: Typing = Typing { slips: SlipSet::Original, ..FULL };
/// Number of synthetic typos that are compared with a list.
const TYPOS: usize = 5_000;

type Pair = (&'static str, &'static str);

fn list(name: &str) -> Vec<Pair> {
    let text = match name {
        "brands" => include_str!("../../benches/data/brands.csv"),
        "places" => include_str!("../../benches/data/places.csv"),
        "words" => include_str!("../../benches/data/words.csv"),
        other => panic!("no list {other}"),
    };
    text.lines().skip(1).filter_map(|line| line.split_once(',')).collect()
}

/// Splits a list into two halves, alternating, so that both have pairs of each part of the alphabet.
fn halves(list: &[Pair]) -> [Vec<Pair>; 2] {
    [0, 1].map(|half| list.iter().copied().skip(half).step_by(2).collect())
}

type Shares = BTreeMap<Slip, f64>;

fn shares<'a>(pairs: impl Iterator<Item = (&'a str, &'a str, f64)>) -> Shares {
    let mut shares = Shares::new();
    for (typo, corrected, weight) in pairs {
        let alignment = align(typo, corrected, FULL);
        if !alignment.is_another_word {
            alignment.slips.iter().for_each(|slip| *shares.entry(*slip).or_default() += weight);
        }
    }
    let total: f64 = shares.values().sum();
    shares.values_mut().for_each(|share| *share /= total);
    shares
}

fn of_list(pairs: &[Pair]) -> Shares {
    shares(pairs.iter().map(|(typo, corrected)| (*typo, *corrected, 1.0)))
}

/// Returns the shares of the synthesizer's slips in the names of a list. A name that occurs in many
/// pairs counts as often.
fn of_synthesizer(pairs: &[Pair], rates: SlipRates, slips: SlipSet) -> Shares {
    // In the same order each time: the synthesizer draws in the order of the catalog.
    let mut weights: BTreeMap<&str, f64> = BTreeMap::new();
    for (typo, corrected) in pairs {
        if !align(typo, corrected, FULL).is_another_word {
            *weights.entry(corrected).or_default() += 1.0;
        }
    }
    let catalog = Catalog::new(weights.keys().map(|name| ("name", *name)));
    let settings = SynthesisSettings { variants: 1, hard_share: 0.0, slips, ..SynthesisSettings::default() };
    let synthesizer = synthesizer(catalog, rates, settings);
    let epochs = TYPOS.div_ceil(weights.len());
    let made: Vec<_> = (0..epochs).flat_map(|epoch| synthesizer.epoch(9, epoch, 0, usize::MAX)).collect();
    shares(
        made.iter()
            .map(|pair| (pair.typo.as_str(), pair.corrected.as_str(), weights[pair.corrected.as_str()])),
    )
}

fn distance(one: &Shares, other: &Shares) -> f64 {
    let share = |shares: &Shares, slip: Slip| shares.get(&slip).copied().unwrap_or_default();
    Slip::ALL.into_iter().map(|slip| (share(one, slip) - share(other, slip)).abs()).sum::<f64>() / 2.0
}

/// Bound of the distance when the rates are learned from the other half of the list: twice what two
/// halves of a list differ by (0.04 to 0.06), because both sides have that noise.
const LEARNED: f64 = 0.12;

#[test]
fn learned_rates_make_the_slips_of_the_other_half() {
    for name in ["brands", "places", "words"] {
        let [one, other] = halves(&list(name));
        let real = of_list(&other);
        assert!(distance(&real, &of_list(&one)) < LEARNED / 2.0, "{name}: the halves differ");
        let learned = SlipRates::learn(one.iter().copied(), FULL);
        let made = of_synthesizer(&other, learned, SlipSet::Full);
        assert!(distance(&real, &made) < LEARNED, "{name}: {real:.3?} {made:.3?}");
        // The original slips can't be learned from most of the pairs, and don't have the kinds.
        let learned = SlipRates::learn(one.iter().copied(), ORIGINAL);
        let original = of_synthesizer(&other, learned, SlipSet::Original);
        assert!(distance(&real, &original) > 2.0 * LEARNED, "{name}: {original:.3?}");
    }
}

#[test]
fn assumed_rates_are_near_what_people_write() {
    // Brands are farther off: their list has mostly official variants, with words added or missing.
    for (name, bound) in [("places", 0.28), ("words", 0.28), ("brands", 0.65)] {
        let list = list(name);
        let real = of_list(&list);
        let from = |slips| distance(&real, &of_synthesizer(&list, SlipRates::assumed(slips), slips));
        let (full, original) = (from(SlipSet::Full), from(SlipSet::Original));
        assert!(full < bound, "{name}: {full:.3}");
        assert!(full < original - 0.1, "{name}: {full:.3}, and {original:.3} with the original slips");
    }
}

#[test]
fn nearly_every_pair_teaches() {
    // The lists of brands and places have other words, too: villages for their towns, and names of
    // companies that were taken over.
    for (name, share) in [("brands", 0.75), ("places", 0.75), ("words", 0.99)] {
        let list = list(name);
        let rates = SlipRates::learn(list.iter().copied(), FULL);
        let pairs = rates.pairs + rates.other_words;
        assert!(rates.pairs as f64 > share * pairs as f64, "{name}: {} of {pairs}", rates.pairs);
        assert!(pairs + 20 > list.len(), "{name}: the rest differs only in case: {pairs} of {}", list.len());
    }
}
