//! The fuzzy matcher's ratio is that of rapidfuzz for Python, which the backend uses.

use std::io::Write;
use std::process::{Command, Stdio};

use autovalidate::evaluate::{FuzzyMetric, FuzzyRule, fuzzy_ratio, weighted_ratio};
use autovalidate_fakes::demo;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::local;

/// Returns pairs of a query and a name: typos of demo names beside any name, in every case and with every
/// separator.
fn pairs(count: usize) -> Vec<(String, String)> {
    let mut random = ChaCha8Rng::seed_from_u64(20);
    let names = demo::catalog();
    demo::corrections(20, count)
        .into_iter()
        .map(|pair| {
            let name = match random.random_bool(0.5) {
                true => pair.corrected.to_owned(),
                false => names.choose(&mut random).unwrap().name.to_owned(),
            };
            let mut query = match random.random_range(0..4) {
                0 => format!("{} {}", pair.typo, names.choose(&mut random).unwrap().name),
                1 => pair.typo.to_uppercase(),
                _ => pair.typo,
            };
            if random.random_bool(0.3) {
                let separator = ["-", "_", "/", " \u{2013} ", "\u{2014}", "  "].choose(&mut random).unwrap();
                query = query.replace(' ', separator);
            }
            (query, name)
        })
        .collect()
}

#[test]
fn ten_thousand_pairs_have_the_ratios_that_the_library_computes() {
    let pairs = pairs(10_000);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/evaluate/rapidfuzz_scores.py");
    let mut python = Command::new(local("backend/bin/python"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    input.write_all(&serde_json::to_vec(&pairs).unwrap()).unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let theirs: Vec<[f64; 10]> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(theirs.len(), pairs.len());
    let sorted = pairs.iter().filter(|(query, _)| query.chars().count() > 10 || query.contains(' ')).count();
    assert!((1_000..9_000).contains(&sorted), "{sorted} queries have their words sorted");
    use FuzzyMetric::{ByLength, Ratio, TokenSortRatio, WeightedRatio};
    let metrics = [ByLength, Ratio, TokenSortRatio, WeightedRatio];
    let rules: [FuzzyRule; 8] = std::array::from_fn(|place| FuzzyRule {
        metric: metrics[place % 4],
        dashes_are_spaces: place < 4,
        ..FuzzyRule::default()
    });
    for ((query, name), theirs) in pairs.iter().zip(theirs) {
        let by_rule = rules.map(|rule| rule.ratio(query, name));
        let as_is = weighted_ratio(&query.to_lowercase(), &name.to_lowercase());
        let ours = [[fuzzy_ratio(query, name), as_is].as_slice(), &by_rule].concat();
        let differs = ours.iter().zip(theirs).any(|(ours, theirs)| (ours - theirs).abs() > 1e-9);
        assert!(!differs, "{query:?} and {name:?}: {ours:?}, but {theirs:?} in Python");
    }
}
