//! Learning the rates of slips.

use autovalidate::correction::normalize;
use autovalidate::synthesis::{Keyboard, Slip, SlipRates, SlipSet, SynthesisSettings, Typing};
use autovalidate_fakes::demo::corrections;
use proptest::prelude::*;

use super::{cars, synthesizer};

const FULL: Typing = Typing { keyboard: Keyboard::Qwerty, slips: SlipSet::Full };

/// Learns rates from typos that were drawn with `rates`.
fn relearned(rates: &SlipRates) -> SlipRates {
    // One typo per name and epoch: a name that runs out of likely typos would favor the unlikely
    // ones.
    let settings = SynthesisSettings { variants: 1, hard_share: 0.0, ..SynthesisSettings::default() };
    let synthesizer = synthesizer(cars(), rates.clone(), settings);
    let pairs: Vec<_> = (0..12).flat_map(|epoch| synthesizer.epoch(9, epoch, 0, usize::MAX)).collect();
    SlipRates::learn(pairs.iter().map(|pair| (pair.typo.as_str(), pair.corrected.as_str())), FULL)
}

#[test]
fn known_rates_are_recovered() {
    let default = SlipRates::default();
    let mut clumsy =
        SlipRates { counts: [0.9, 0.08, 0.02], lower_case: 0.2, capitals: 0.3, ..default.clone() };
    // People with one dominant slip each.
    for favorite in
        [Slip::Swapped, Slip::Phonetic, Slip::Neighbor, Slip::Vowel, Slip::Inserted, Slip::WordAdded]
    {
        clumsy.kinds = default
            .kinds
            .iter()
            .map(|(slip, weight)| (*slip, if *slip == favorite { 0.6 } else { 0.4 * weight }))
            .collect();
        let total: f64 = clumsy.kinds.values().sum();
        clumsy.kinds.values_mut().for_each(|weight| *weight /= total);
        let learned = relearned(&clumsy);
        assert!(learned.pairs > 2_500);
        for (slip, weight) in &clumsy.kinds {
            let found = learned.kinds[slip];
            // Ambiguous slips (`s` for `z` is both phonetic and an adjacent key) count as one kind
            // only. They are a few in a hundred.
            assert!(
                (found - weight).abs() < 0.08,
                "{favorite:?}: {slip:?} is {weight:.3}, learned {found:.3}"
            );
        }
        for (count, found) in clumsy.counts.iter().zip(learned.counts) {
            assert!((found - count).abs() < 0.05, "{count} {found}");
        }
        assert!((learned.lower_case - 0.2).abs() < 0.06, "{}", learned.lower_case);
        assert!((learned.capitals - 0.3).abs() < 0.06, "{}", learned.capitals);
    }
}

#[test]
fn few_pairs_move_the_prior_a_little_and_none_not_at_all() {
    let none = SlipRates::learn([], FULL);
    let default = SlipRates::default();
    for (slip, weight) in &default.kinds {
        assert!((none.kinds[slip] - weight).abs() < 1e-9);
    }
    let one = SlipRates::learn([("toyoat", "Toyota")], FULL);
    let moved = one.kinds[&Slip::Swapped] - default.kinds[&Slip::Swapped];
    assert!(moved > 0.0 && moved < 0.05, "{moved}");
    assert_eq!(one.pairs, 1);
}

#[test]
fn another_word_is_no_slip() {
    let pairs = [("audi", "Toyota"), ("moodus", "East Haddam"), ("TOYOTA", "Toyota")];
    let rates = SlipRates::learn(pairs, FULL);
    assert_eq!((rates.pairs, rates.other_words), (0, 2));
    // The original slips don't explain abbreviations and missing words.
    let pairs = [("vw", "Volkswagen"), ("benz", "Mercedes-Benz"), ("TOYOTA", "Toyota")];
    let original = SlipRates::learn(pairs, Typing { slips: SlipSet::Original, ..FULL });
    assert_eq!((original.pairs, original.other_words), (0, 2));
    let rates = SlipRates::learn(pairs, FULL);
    assert_eq!((rates.pairs, rates.other_words), (2, 0));
}

#[test]
fn the_demos_slips_are_mostly_understood() {
    // The demo has its own generator and its own table of sounds, which the synthesizer does not
    // share.
    let drawn = corrections(1, 600);
    let pairs = drawn.iter().map(|pair| (pair.typo.as_str(), pair.corrected));
    let rates = SlipRates::learn(pairs, FULL);
    assert!(rates.pairs > 500, "{} of 600", rates.pairs);
    assert!(rates.kinds[&Slip::Stray] < 0.06 && rates.kinds[&Slip::Split] < 0.02, "not in the demo");
    assert!(rates.counts[0] > 0.5);
}

proptest! {
    #[test]
    fn any_pairs_give_rates_that_can_be_drawn_with(pairs in prop::collection::vec((".{0,12}", ".{0,12}"), 0..20), full: bool) {
        let slips = if full { SlipSet::Full } else { SlipSet::Original };
        let pairs = pairs.iter().map(|(typo, corrected)| (typo.as_str(), corrected.as_str()));
        let rates = SlipRates::learn(pairs, Typing { keyboard: Keyboard::Azerty, slips });
        prop_assert!((rates.kinds.values().sum::<f64>() - 1.0).abs() < 1e-9);
        prop_assert!((rates.counts.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        prop_assert!(rates.kinds.len() == slips.kinds().count() && rates.kinds.values().all(|weight| *weight > 0.0));
        prop_assert!((0.0..1.0).contains(&rates.lower_case) && (0.0..1.0).contains(&rates.capitals));
    }

    #[test]
    fn case_alone_is_no_slip(name in "[a-zA-Z]{1,12}") {
        let rates = SlipRates::learn([(normalize(&name).as_str(), name.as_str())], FULL);
        prop_assert_eq!(rates.pairs, 0);
    }
}
