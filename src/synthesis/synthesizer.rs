//! An epoch's synthetic pairs.

use std::collections::{HashMap, HashSet};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::rates::MOST_SLIPS;
use super::slip::{Edit, edits, lower};
use super::{Keyboard, Slip, SlipRates, SynthesisSettings};
use crate::correction::normalize;
use crate::evaluate::{Catalog, HoldOut, fuzzy_ratio};

/// How many times a typo is drawn before the name gets one less.
const TRIES: usize = 24;
/// Names up to this many characters are hard to recognize after two slips already.
const SHORT: usize = 8;

/// A made-up typo of a catalog entry.
#[derive(Clone, PartialEq, Eq)]
pub struct SyntheticPair {
    /// Domain of the name.
    pub domain: String,
    /// The typo.
    pub typo: String,
    /// The name, as the catalog spells it.
    pub corrected: String,
}

/// Makes typos of a catalog's names.
///
/// No typo it makes is, after normalizing, a name of its domain (so never its own), held out
/// ([`HoldOut::holds_typo`], [`without`](Self::without)), or made twice for a domain in one epoch.
#[derive(Clone)]
pub struct Synthesizer {
    catalog: Catalog,
    rates: SlipRates,
    settings: SynthesisSettings,
    hold_out: HoldOut,
    /// Further typos that must not be made, by domain, normalized.
    forbidden: HashMap<String, HashSet<String>>,
}

impl Synthesizer {
    /// A synthesizer for every name of `catalog`. Names of held-out corrections are among them on purpose: the
    /// backend knows the catalog, and a name nobody has mistyped yet is what synthesis is for.
    pub fn new(catalog: Catalog, rates: SlipRates, settings: SynthesisSettings, hold_out: HoldOut) -> Self {
        Self { catalog, rates, settings, hold_out, forbidden: HashMap::new() }
    }

    /// Without these `(domain, typo)`: what a run asks beside the typos held out by hash.
    #[must_use]
    pub fn without<'a>(mut self, typos: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (domain, typo) in typos {
            self.forbidden.entry(domain.to_owned()).or_default().insert(normalize(typo));
        }
        self
    }

    /// The names typos are made of.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The synthetic pairs of one epoch, in the order of the catalog, beside `real` real pairs. They follow from
    /// the arguments alone; another epoch has others.
    pub fn epoch(&self, seed: u64, epoch: usize, real: usize) -> Vec<SyntheticPair> {
        let variants = self.settings.variants_beside(self.catalog.len(), real);
        let hard = (variants as f64 * self.settings.hard_share).round() as usize;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(epoch as u64);
        let mut pairs = Vec::new();
        for (domain, names) in self.catalog.domains() {
            let mut taken: HashSet<String> = names.iter().map(|name| normalize(name)).collect();
            taken.extend(self.forbidden.get(domain).into_iter().flatten().cloned());
            for name in names {
                for variant in 0..variants {
                    let typo = self.typo(name, variant < hard, &mut taken, &mut random);
                    pairs.extend(typo.map(|typo| SyntheticPair {
                        domain: domain.to_owned(),
                        typo,
                        corrected: name.clone(),
                    }));
                }
            }
        }
        pairs
    }

    /// One typo of `name`, hard if that is wished and comes up. None when nothing allowed comes up.
    fn typo(
        &self,
        name: &str,
        hard: bool,
        taken: &mut HashSet<String>,
        random: &mut impl RngExt,
    ) -> Option<String> {
        let mut easy = None;
        for _ in 0..TRIES {
            let Some(typo) = self.draw(name, hard, random) else { continue };
            let normal = normalize(&typo);
            if normal.is_empty() || taken.contains(&normal) || self.hold_out.holds_typo(&normal) {
                continue;
            }
            if !hard || fuzzy_ratio(&normal, name) < self.settings.hard_below {
                taken.insert(normal);
                return Some(typo);
            }
            easy = Some(typo);
        }
        // A long name is hardly ever hard; an easy typo teaches more than none.
        easy.inspect(|typo| {
            taken.insert(normalize(typo));
        })
    }

    fn draw(&self, name: &str, hard: bool, random: &mut impl RngExt) -> Option<String> {
        let mut text: Vec<char> = name.chars().collect();
        let mut slips = 1 + weighted(&self.rates.counts, random)?;
        if hard {
            slips = (slips + 1).min(if text.len() <= SHORT { MOST_SLIPS } else { MOST_SLIPS + 1 });
        }
        for _ in 0..slips {
            slip(&self.rates, self.settings.keyboard, &text, random)?.apply(&mut text);
        }
        let text: String = text.into_iter().collect();
        let style = random.random::<f64>();
        Some(if style < self.rates.lower_case {
            text.to_lowercase()
        } else if style < self.rates.lower_case + self.rates.capitals {
            text.to_uppercase()
        } else {
            text
        })
    }
}

/// One way to slip: first the kind, drawn again when it can't happen to this text, then the place.
fn slip(rates: &SlipRates, keyboard: Keyboard, text: &[char], random: &mut impl RngExt) -> Option<Edit> {
    let text = lower(text);
    let weights = Slip::ALL.map(|kind| rates.kinds.get(&kind).copied().unwrap_or_default());
    for _ in 0..TRIES {
        let edits = edits(Slip::ALL[weighted(&weights, random)?], &text, keyboard);
        let later: Vec<&Edit> = edits.iter().filter(|edit| edit.at > 0).collect();
        // The first letter is looked at while it is typed, and slips a quarter as often as its share.
        match later.choose(random) {
            Some(edit) if random.random_bool(0.75) => return Some((*edit).clone()),
            _ => match edits.choose(random) {
                Some(edit) => return Some(edit.clone()),
                None => continue,
            },
        }
    }
    None
}

/// A position, in proportion to its weight. None when nothing has weight.
fn weighted(weights: &[f64], random: &mut impl RngExt) -> Option<usize> {
    let mut left = random.random::<f64>() * weights.iter().sum::<f64>();
    let mut last = None;
    for (position, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        if left < *weight {
            return Some(position);
        }
        left -= weight;
        last = Some(position);
    }
    last
}
