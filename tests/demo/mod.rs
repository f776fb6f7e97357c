//! Properties of the demo's data that a worker relies on when it trains on that data, and the demo
//! of a week on Fly.io.

mod serverless;

use std::collections::{BTreeSet, HashSet};

use autovalidate::correction::{Row, normalize};
use autovalidate::evaluate::{Catalog, FuzzyMatcher, FuzzyRule, Query, Side};
use autovalidate_fakes::demo::{cars_csv, catalog, corrections, hard_corrections_of};

#[test]
fn the_catalog_holds_each_name_once() {
    let entries = catalog();
    let names: HashSet<String> = entries.iter().map(|entry| normalize(entry.name)).collect();
    assert_eq!(names.len(), entries.len(), "a name occurs twice");
    assert!(entries.iter().filter(|entry| entry.domain == "brand").count() >= 60);
    assert!(entries.iter().filter(|entry| entry.domain == "model").count() >= 180);
    let domains: BTreeSet<&str> = entries.iter().map(|entry| entry.domain).collect();
    assert_eq!(domains, BTreeSet::from(["brand", "model"]));
    assert!(entries.iter().any(|entry| entry.name == "Land Cruiser"), "names of several words");
    assert!(entries.iter().all(|entry| entry.name.trim() == entry.name && !entry.name.is_empty()));
}

#[test]
fn the_apps_catalog_holds_each_name_and_a_brand_for_each_model() {
    let csv = cars_csv();
    let rows: Vec<(&str, &str)> = csv.lines().skip(1).map(|line| line.split_once(',').unwrap()).collect();
    let of = |domain: &str| -> BTreeSet<&str> {
        let entries = catalog().into_iter().filter(|entry| entry.domain == domain);
        entries.map(|entry| entry.name).collect()
    };
    assert_eq!(rows.iter().map(|(brand, _)| *brand).collect::<BTreeSet<_>>(), of("brand"));
    let models = rows.iter().map(|(_, model)| *model).filter(|model| !model.is_empty());
    assert_eq!(models.collect::<BTreeSet<_>>(), of("model"));
    assert!(rows.contains(&("Toyota", "Corolla")) && rows.contains(&("Audi", "")));
}

#[test]
fn the_same_seed_gives_the_same_corrections_and_another_seed_others() {
    let first = corrections(42, 300);
    assert_eq!(first.len(), 300);
    assert_eq!(first, corrections(42, 300));
    assert_eq!(first[..100], corrections(42, 100), "a longer list continues a shorter one");
    assert_ne!(first, corrections(43, 300));
}

#[test]
fn every_correction_may_be_trained_on_and_no_typo_is_a_name_or_comes_twice() {
    let names: HashSet<String> = catalog().iter().map(|entry| normalize(entry.name)).collect();
    let drawn = corrections(1, 10_000);
    assert_eq!(drawn.len(), 10_000);
    let mut typos = HashSet::new();
    for (id, pair) in (1..).zip(drawn) {
        let row = Row {
            id,
            typo: pair.typo.clone(),
            corrected: pair.corrected.into(),
            domain: pair.domain.into(),
            ..Row::default()
        };
        assert_eq!(row.check(), Ok(()), "{pair:?}");
        assert!(!names.contains(&normalize(&pair.typo)), "{pair:?}");
        assert!(typos.insert(normalize(&pair.typo)), "{pair:?}");
    }
}

#[test]
fn typos_stay_close_to_what_was_meant() {
    let drawn = corrections(3, 2_000);
    let ratios: Vec<f64> = drawn
        .iter()
        .map(|pair| rapidfuzz::fuzz::ratio(normalize(&pair.typo).chars(), normalize(pair.corrected).chars()))
        .collect();
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    assert!((0.80..0.95).contains(&mean), "mean ratio {mean}");
    let hard = ratios.iter().filter(|ratio| **ratio < 0.75).count();
    assert!((20..600).contains(&hard), "{hard} of 2000 would be left to the model");
}

#[test]
fn hard_typos_are_what_the_string_metric_often_guesses_wrong() {
    let names = Catalog::new(catalog().iter().map(|entry| (entry.domain, entry.name)));
    let hard = hard_corrections_of(&catalog(), 1, 2_000);
    let matches: Vec<_> = hard
        .into_iter()
        .map(|pair| {
            let (domain, corrected) = (pair.domain.to_owned(), pair.corrected.to_owned());
            FuzzyMatcher::new(&names, FuzzyRule::default()).search(&Query {
                domain,
                typo: pair.typo,
                corrected,
                side: Side::NewTypo,
            })
        })
        .collect();
    let left: Vec<_> = matches.iter().filter(|found| found.leaves_to_model(FuzzyRule::default())).collect();
    let right = left.iter().filter(|found| found.rank == Some(1)).count() as f64 / left.len() as f64;
    assert!(left.len() > 500, "{} of 2000 are left to the model", left.len());
    assert!((0.72..0.85).contains(&right), "the best guess is right {right} of the time");
}
