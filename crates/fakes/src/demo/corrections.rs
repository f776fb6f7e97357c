//! Pairs as the app would insert them: a typo and the name that a person accepted instead.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::catalog::{Entry, catalog};
use super::typos::{hard_typo, typo};

/// Number of consecutive duplicate draws after which the generator gives up.
const FRUITLESS_DRAWS: usize = 1_000;

/// A typo and the name that was accepted instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The typed text, never a name of the catalog.
    pub typo: String,
    /// The intended name.
    pub corrected: &'static str,
    /// `brand` or `model`.
    pub domain: &'static str,
}

/// Generates `count` corrections. The same seed gives the same list, and a larger count extends
/// the list of a smaller one.
///
/// After normalizing, no typo occurs twice and none is a name of the catalog. The list is shorter
/// than `count` only when the catalog yields no more typos, far beyond ten thousand.
pub fn corrections(seed: u64, count: usize) -> Vec<Correction> {
    corrections_of(&catalog(), seed, count)
}

/// Generates corrections as [`corrections`] does, but of the given names, for benchmarks with
/// their own catalog.
pub fn corrections_of(entries: &[Entry], seed: u64, count: usize) -> Vec<Correction> {
    drawn(entries, seed, count, typo)
}

/// Generates corrections as [`corrections_of`] does, but with two or three slips each. A string
/// metric often gets these wrong.
pub fn hard_corrections_of(entries: &[Entry], seed: u64, count: usize) -> Vec<Correction> {
    drawn(entries, seed, count, hard_typo)
}

fn drawn(
    entries: &[Entry],
    seed: u64,
    count: usize,
    typo: fn(&str, &mut ChaCha8Rng) -> String,
) -> Vec<Correction> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut seen: HashSet<String> = entries.iter().map(|entry| normalize(entry.name)).collect();
    let mut corrections = Vec::new();
    let mut fruitless = 0;
    while corrections.len() < count && fruitless < FRUITLESS_DRAWS {
        let Some(entry) = entries.choose(&mut random) else { break };
        let typo = typo(entry.name, &mut random);
        if seen.insert(normalize(&typo)) {
            fruitless = 0;
            corrections.push(Correction { typo, corrected: entry.name, domain: entry.domain });
        } else {
            fruitless += 1;
        }
    }
    corrections
}

/// Collapses whitespace and lowercases. Two texts are the same entry when their results are equal.
fn normalize(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
