//! The hold-out: the text alone decides.

use autovalidate::evaluate::{HoldOut, Side, is_validation};
use proptest::prelude::*;

#[test]
fn known_pairs_stay_where_they_were_put() {
    // A change here makes the scores of older runs incomparable, and trains on pairs that were
    // tested. It needs a new version of the salt; this test catches it.
    let hold_out = HoldOut::default();
    let held_out: Vec<usize> =
        (0..60).filter(|index| hold_out.holds_typo(&format!("typo {index}"))).collect();
    assert_eq!(held_out, HELD_OUT_TYPOS);
    let held_out: Vec<usize> =
        (0..60).filter(|index| hold_out.holds_correction(&format!("name {index}"))).collect();
    assert_eq!(held_out, HELD_OUT_CORRECTIONS);
}

// Computed independently of the code, with the SHA-256 of another language.
const HELD_OUT_TYPOS: [usize; 4] = [24, 47, 49, 55];
const HELD_OUT_CORRECTIONS: [usize; 3] = [7, 31, 48];

#[test]
fn one_text_in_several_encodings_is_on_one_side_and_a_composed_one_stays_where_it_was() {
    let half = HoldOut { typos: 0.5, corrections: 0.5, ..HoldOut::default() };
    // Computed like the sides above, from the composed text in lower case.
    for (text, held_out) in [
        ("citroën", true),
        ("škoda fabia", false),
        ("größe", false),
        ("çelik", true),
        ("mazda é", true),
        ("señor", true),
    ] {
        let decomposed = ["e\u{308}", "s\u{30c}", "o\u{308}", "c\u{327}", "e\u{301}", "n\u{303}"];
        let letters = ["ë", "š", "ö", "ç", "é", "ñ"].iter().zip(decomposed);
        let other = letters.fold(text.to_owned(), |text, (composed, other)| text.replace(composed, other));
        assert_ne!(text, other);
        for spelled in [text, &other, &format!("\u{feff}{text}\u{200e}"), &text.to_uppercase()] {
            // `ß` has no single letter in upper case.
            if !spelled.contains("SS") {
                assert_eq!(half.holds_typo(spelled), held_out, "{spelled:?}");
                assert_eq!(half.side(spelled, spelled), half.side(text, text), "{spelled:?}");
                assert_eq!(is_validation(spelled), is_validation(text), "{spelled:?}");
            }
        }
    }
}

#[test]
fn the_shares_are_what_the_settings_say() {
    let hold_out = HoldOut { typos: 0.2, corrections: 0.1, ..HoldOut::default() };
    let share =
        |held: &dyn Fn(String) -> bool| (0..5_000).filter(|n| held(n.to_string())).count() as f64 / 5_000.0;
    // For 5,000 draws, five standard deviations are 0.028 and 0.021.
    assert!((share(&|text| hold_out.holds_typo(&text)) - 0.2).abs() < 0.028);
    assert!((share(&|text| hold_out.holds_correction(&text)) - 0.1).abs() < 0.021);
    let both = (0..5_000).map(|n| n.to_string());
    let both = both.filter(|text| hold_out.holds_typo(text) && hold_out.holds_correction(text)).count();
    assert!((50..160).contains(&both), "typos and corrections are independent: {both} of 5,000 in both");
}

#[test]
fn a_share_of_nothing_holds_nothing_and_of_everything_all() {
    let none = HoldOut { typos: 0.0, corrections: 0.0, ..HoldOut::default() };
    let typos = HoldOut { typos: 1.0, corrections: 0.0, ..HoldOut::default() };
    let all = HoldOut { typos: 0.0, corrections: 1.0, new_names: 0.0, ..HoldOut::default() };
    let new = HoldOut { new_names: 1.0, ..all };
    for n in 0..500 {
        let (typo, corrected) = (format!("t{n}"), format!("c{n}"));
        assert_eq!(none.side(&typo, &corrected), Side::Train);
        assert_eq!(typos.side(&typo, &corrected), Side::NewTypo);
        assert_eq!(all.side(&typo, &corrected), Side::UnseenCorrection);
        assert_eq!(new.side(&typo, &corrected), Side::NewName);
    }
}

proptest! {
    #[test]
    fn the_side_follows_from_the_normalized_text_alone(typo in ".{1,20}", corrected in ".{1,20}") {
        let hold_out = HoldOut { typos: 0.4, corrections: 0.4, ..HoldOut::default() };
        let side = hold_out.side(&typo, &corrected);
        prop_assert_eq!(hold_out.side(&format!("  {typo}\t"), &format!(" {corrected} ")), side);
        let is_out = matches!(side, Side::UnseenCorrection | Side::NewName);
        prop_assert_eq!(is_out, hold_out.holds_correction(&corrected));
    }

    #[test]
    fn all_pairs_of_a_held_out_correction_are_out(corrected in "[a-z]{1,12}", typos in prop::collection::vec("[a-z]{1,12}", 2..8)) {
        let hold_out = HoldOut { typos: 0.3, corrections: 0.5, ..HoldOut::default() };
        let mut sides = typos.iter().map(|typo| hold_out.side(typo, &corrected));
        let first = sides.next().unwrap();
        if hold_out.holds_correction(&corrected) {
            prop_assert!(matches!(first, Side::UnseenCorrection | Side::NewName));
            prop_assert!(sides.all(|side| side == first), "some of a name's typos teach it, some test it");
        }
    }

    #[test]
    fn a_larger_share_keeps_what_a_smaller_one_held(text in ".{1,20}", small in 0.0..1.0f64, more in 0.0..1.0f64) {
        let small_share = HoldOut { typos: small, corrections: small, ..HoldOut::default() };
        let large_share = HoldOut { typos: small + more, corrections: small + more, ..HoldOut::default() };
        prop_assert!(!small_share.holds_typo(&text) || large_share.holds_typo(&text));
        prop_assert!(!small_share.holds_correction(&text) || large_share.holds_correction(&text));
    }
}
