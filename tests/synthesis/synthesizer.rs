//! Properties of an epoch's synthetic pairs.

use std::collections::{BTreeMap, HashSet};

use autovalidate::correction::{Row, normalize};
use autovalidate::evaluate::{Catalog, HoldOut, fuzzy_ratio};
use autovalidate::synthesis::{Keyboard, SlipRates, SlipSet, SynthesisSettings, Synthesizer, SyntheticPair};
use proptest::prelude::*;

use super::{cars, synthesizer};

fn settings(variants: usize, hard_share: f64) -> SynthesisSettings {
    SynthesisSettings { variants, hard_share, ..SynthesisSettings::default() }
}

fn count(pairs: &[SyntheticPair]) -> BTreeMap<&str, usize> {
    let mut count = BTreeMap::new();
    for pair in pairs {
        *count.entry(pair.corrected.as_str()).or_default() += 1;
    }
    count
}

#[test]
fn a_shortened_name_stands_for_one_name_only() {
    let names = ["Galaxy S23", "Galaxy S23 Ultra", "Galaxy A54 Ultra", "Galaxy A54"];
    let settings = SynthesisSettings { slips: SlipSet::Full, ..settings(40, 0.5) };
    let pairs = synthesizer(Catalog::new(names.map(|name| ("phone", name))), SlipRates::default(), settings)
        .epoch(3, 0, 0, usize::MAX);
    assert!(pairs.len() > 100);
    let made: HashSet<String> = pairs.iter().map(|pair| normalize(&pair.typo)).collect();
    for typo in ["galaxy", "ultra", "galaxy ultra", "gala"] {
        assert!(!made.contains(typo), "{typo}");
    }
    assert!(made.contains("s23 ultra") || made.contains("a54 ultra"), "{made:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_forbidden_is_ever_made(
        names in prop::collection::vec("[A-Za-z0-9éüÀ \\-]{1,9}|.{0,12}|[ab]{1,3}", 1..25),
        hold_out in 0.0..0.9_f64,
        hard_share in 0.0..=1.0_f64,
        keyboard in prop::sample::select(vec![Keyboard::Qwerty, Keyboard::Qwertz, Keyboard::Azerty]),
        slips in prop::sample::select(vec![SlipSet::Original, SlipSet::Full]),
        seed: u64,
    ) {
        let of_domain = |at: usize| if at.is_multiple_of(3) { "brand" } else { "model" };
        let catalog =
            Catalog::new(names.iter().enumerate().map(|(at, name)| (of_domain(at), name.as_str())));
        let entries: HashSet<(String, String)> = catalog
            .domains()
            .flat_map(|(domain, names)| names.iter().map(|name| (domain.to_owned(), normalize(name))))
            .collect();
        let hold_out = HoldOut { typos: hold_out, corrections: 0.5, ..HoldOut::default() };
        let settings = SynthesisSettings { keyboard, slips, ..settings(6, hard_share) };
        let synthesizer = Synthesizer::new(catalog, SlipRates::assumed(slips), settings, hold_out);
        let mut made = HashSet::new();
        for pair in synthesizer.epoch(seed, 0, 0, usize::MAX) {
            let typo = normalize(&pair.typo);
            prop_assert!(!typo.is_empty());
            prop_assert!(typo != normalize(&pair.corrected), "its own name");
            prop_assert!(entries.contains(&(pair.domain.clone(), normalize(&pair.corrected))));
            prop_assert!(!entries.contains(&(pair.domain.clone(), typo.clone())), "a name of the domain");
            prop_assert!(!hold_out.holds_typo(&pair.typo), "held out");
            prop_assert!(made.insert((pair.domain, typo)), "made twice");
        }
    }

    #[test]
    fn the_same_seed_and_epoch_give_the_same_pairs(seed: u64, epoch in 0_usize..50) {
        let few = Catalog::new([("brand", "Volkswagen"), ("model", "Land Cruiser"), ("model", "Golf")]);
        let synthesizer = synthesizer(few, SlipRates::default(), settings(6, 0.5));
        let texts = |seed, epoch| -> Vec<String> {
            synthesizer.epoch(seed, epoch, 0, usize::MAX).into_iter().map(|pair| pair.typo).collect()
        };
        prop_assert_eq!(texts(seed, epoch), texts(seed, epoch));
        prop_assert_ne!(texts(seed, epoch), texts(seed, epoch + 1), "another epoch has other typos");
        prop_assert_ne!(texts(seed, epoch), texts(seed.wrapping_add(1), epoch));
    }
}

#[test]
fn every_name_gets_its_typos_even_one_whose_correction_is_held_out() {
    let all_held = HoldOut { typos: 0.1, corrections: 1.0, ..HoldOut::default() };
    let synthesizer = Synthesizer::new(cars(), SlipRates::default(), settings(10, 0.5), all_held);
    let pairs = synthesizer.epoch(1, 0, 0, usize::MAX);
    let count = count(&pairs);
    assert_eq!(count.len(), cars().len());
    // Short names run out of typos that are not another name.
    assert!(count.iter().all(|(name, typos)| *typos == 10 || (name.chars().count() <= 3 && *typos >= 3)));
}

#[test]
fn a_name_that_is_passed_over_gets_no_typo_in_its_domain() {
    let (domain, names) = {
        let catalog = cars();
        let (domain, names) = catalog.domains().next().unwrap();
        (domain.to_owned(), names.to_vec())
    };
    let spelled = names[0].to_uppercase();
    let synthesizer = synthesizer(cars(), SlipRates::default(), settings(5, 0.5))
        .without_names([(domain.as_str(), spelled.as_str())]);
    let pairs = synthesizer.epoch(1, 0, 0, usize::MAX);
    assert!(!pairs.iter().any(|pair| pair.domain == domain && pair.corrected == names[0]));
    assert!(pairs.iter().any(|pair| pair.corrected == names[1]));
}

#[test]
fn the_rows_it_makes_may_be_trained_on() {
    for pair in synthesizer(cars(), SlipRates::default(), settings(5, 0.5)).epoch(3, 0, 0, usize::MAX) {
        let (typo, corrected, domain) = (pair.typo, pair.corrected, pair.domain);
        assert_eq!(Row { id: 1, typo, corrected, domain, ..Row::default() }.check(), Ok(()));
    }
}

#[test]
fn the_share_of_hard_typos_is_what_the_settings_say() {
    let hard = |hard_share: f64| {
        let pairs =
            synthesizer(cars(), SlipRates::default(), settings(12, hard_share)).epoch(5, 0, 0, usize::MAX);
        let hard = pairs.iter().filter(|pair| fuzzy_ratio(&pair.typo, &pair.corrected) < 80.0).count();
        hard as f64 / pairs.len() as f64
    };
    let (none, half, most) = (hard(0.0), hard(0.5), hard(1.0));
    assert!(half > none + 0.15 && most > half + 0.15, "{none} {half} {most}");
    assert!(most > 0.75, "{most}: long names are seldom hard, short ones always");
}

#[test]
fn the_share_of_synthetic_pairs_is_kept() {
    let settings = SynthesisSettings { share: 0.5, ..settings(20, 0.5) };
    let names = cars().len();
    let made = |real: usize| {
        synthesizer(cars(), SlipRates::default(), settings.clone()).epoch(1, 0, real, usize::MAX).len()
    };
    assert_eq!(made(0), 0);
    assert!(made(3 * names) <= 3 * names && made(3 * names) > 2 * names);
    assert!(made(1_000 * names) > 19 * names);
}

#[test]
fn no_variants_make_nothing() {
    assert!(
        synthesizer(cars(), SlipRates::default(), settings(0, 0.5)).epoch(1, 0, 600, usize::MAX).is_empty()
    );
    let nothing = Catalog::new(Vec::<(String, String)>::new());
    assert!(
        synthesizer(nothing, SlipRates::default(), settings(5, 0.5)).epoch(1, 0, 600, usize::MAX).is_empty()
    );
}

#[test]
fn absurd_settings_are_refused() {
    let refused = |settings: SynthesisSettings| settings.check().unwrap_err().setting;
    let default = SynthesisSettings::default;
    assert_eq!(default().check(), Ok(()));
    assert_eq!(refused(SynthesisSettings { variants: 1_001, ..default() }), "variants");
    assert_eq!(refused(SynthesisSettings { share: f64::NAN, ..default() }), "share");
    assert_eq!(refused(SynthesisSettings { hard_share: -0.1, ..default() }), "hard_share");
    assert_eq!(refused(SynthesisSettings { hard_below: 101.0, ..default() }), "hard_below");
}

#[test]
fn settings_of_earlier_records_draw_the_typos_they_drew() {
    let record = include_str!("../fixtures/version-0.1.0/record.json");
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    let recorded: SynthesisSettings = serde_json::from_value(record["lineage"]["synthesis"].clone()).unwrap();
    assert_eq!(recorded.slips, SlipSet::Original);
    let settings = SynthesisSettings { slips: recorded.slips, ..settings(4, 0.6) };
    let pairs = [
        ("volkswagne", "Volkswagen"),
        ("skoda", "Škoda"),
        ("landcruiser", "Land Cruiser"),
        ("nisan", "Nissan"),
        ("tokota", "Toyota"),
        ("vw", "Volkswagen"),
        ("mitsubishy", "Mitsubishi"),
    ];
    let names = [
        ("brand", "Volkswagen"),
        ("brand", "Škoda"),
        ("model", "Land Cruiser"),
        ("model", "C-HR"),
        ("model", "Up GTI"),
    ];
    let rates = SlipRates::learn(pairs, settings.typing());
    let synthesizer = synthesizer(Catalog::new(names), rates, settings);
    // What the version of the record makes of these.
    let made: [&[&str]; 2] = [
        &[
            "voolsqwaben",
            "olksgaen",
            "Vkswagen",
            "volksswagen",
            "Škkd",
            "šda",
            "Škoad",
            "Šosa",
            "Land-Cruies",
            "lnad-crhixer",
            "lqnd cruiser",
            "land rcuiser",
            "k-hhrr",
            "C-Fh",
            "c-nr",
            "f-hr",
            "upjti",
            "u git",
            "Up YTI",
            "UP GTGI",
        ],
        &[
            "vasulksvagenn",
            "Volkswadjan",
            "volkswagne",
            "volkswqagen",
            "Šfoa",
            "Škor",
            "škauda",
            "Šokda",
            "landd xruiser",
            "lnd rcuisdr",
            "land cuoser",
            "land ruisor",
            "K-Rh",
            "C-",
            "c-jr",
            "c-nr",
            "up fi",
            "Up DjJt",
            "up git",
            "p gti",
        ],
    ];
    for (epoch, made) in made.into_iter().enumerate() {
        let typos: Vec<String> =
            synthesizer.epoch(7, epoch, 0, usize::MAX).into_iter().map(|pair| pair.typo).collect();
        assert_eq!(typos, made);
    }
}
