//! Pairs as the app would insert them: a typo and the name a person accepted instead.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::catalog::{Entry, catalog};
use super::typos::{hard_typo, typo};

/// How many draws in a row may bring nothing new before the generator gives up.
const FRUITLESS_DRAWS: usize = 1_000;

/// A typo and what was accepted instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// What was typed. Never a name of the catalog.
    pub typo: String,
    /// The name that was meant.
    pub corrected: &'static str,
    /// `brand` or `model`.
    pub domain: &'static str,
}

/// `count` corrections, the same ones for the same seed; a larger count continues a smaller one's list.
///
/// No typo occurs twice after normalizing, and none is a name of the catalog. Fewer come back only when the
/// catalog yields no more, far beyond ten thousand.
pub fn corrections(seed: u64, count: usize) -> Vec<Correction> {
    corrections_of(&catalog(), seed, count)
}

/// As [`corrections`], of other names: what a benchmark asks about a catalog of its own.
pub fn corrections_of(entries: &[Entry], seed: u64, count: usize) -> Vec<Correction> {
    drawn(entries, seed, count, typo)
}

/// As [`corrections_of`], with two and three slips each: what a string metric often guesses wrong.
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

/// Two texts are the same entry when this is equal.
fn normalize(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
