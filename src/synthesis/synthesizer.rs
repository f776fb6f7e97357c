//! Synthetic pairs of an epoch.

use std::collections::{HashMap, HashSet};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::rates::MOST_SLIPS;
use super::slip::{Edit, edits, lower};
use super::{Keyboard, Slip, SlipRates, SynthesisSettings};
use crate::correction::normalize;
use crate::evaluate::{Catalog, HoldOut, fuzzy_ratio};

/// Number of draws for one typo; when all of them fail, the name gets one typo less.
const TRIES: usize = 24;
/// Maximum length, in characters, of a short name. A short name is hard to recognize after only two
/// slips.
const SHORT: usize = 8;

/// Synthetic typo of a catalog name.
#[derive(Clone, PartialEq, Eq)]
pub struct SyntheticPair {
    /// Domain of the name.
    pub domain: String,
    /// Typo of the name.
    pub typo: String,
    /// Name as the catalog spells it.
    pub corrected: String,
}

/// Generator of synthetic typos of the names of a catalog.
///
/// After normalizing, no typo it makes is a name of its domain (so it never equals its own name),
/// is held out ([`HoldOut::holds_typo`], [`without`](Self::without)), or occurs twice for a domain
/// in one epoch.
#[derive(Clone)]
pub struct Synthesizer {
    catalog: Catalog,
    rates: SlipRates,
    settings: SynthesisSettings,
    hold_out: HoldOut,
    /// Additional typos that must not be made, by domain; both are normalized.
    forbidden: HashMap<String, HashSet<String>>,
    /// Names without typos, by domain; both are normalized.
    passed_over: HashMap<String, HashSet<String>>,
}

impl Synthesizer {
    /// Creates a synthesizer for every name of `catalog`. On purpose, this includes the names of
    /// held-out corrections: the backend knows the catalog, and synthesis exists for the names that
    /// nobody has mistyped yet.
    pub fn new(catalog: Catalog, rates: SlipRates, settings: SynthesisSettings, hold_out: HoldOut) -> Self {
        Self { catalog, rates, settings, hold_out, forbidden: HashMap::new(), passed_over: HashMap::new() }
    }

    /// Excludes these `(domain, typo)` pairs: the queries of a run that are not held out by hash.
    #[must_use]
    pub fn without<'a>(mut self, typos: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (domain, typo) in typos {
            self.forbidden.entry(normalize(domain)).or_default().insert(normalize(typo));
        }
        self
    }

    /// Passes these `(domain, name)` pairs over: the test asks for names of which nothing is trained on.
    #[must_use]
    pub fn without_names<'a>(mut self, names: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (domain, name) in names {
            self.passed_over.entry(normalize(domain)).or_default().insert(normalize(name));
        }
        self
    }

    /// True for a name of which nothing is trained on.
    pub(super) fn passes_over(&self, domain: &str, name: &str) -> bool {
        self.passed_over.get(domain).is_some_and(|names| names.contains(&normalize(name)))
    }

    /// Returns the catalog whose names are mistyped.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the synthetic pairs of one epoch, in catalog order. `real` is the number of real
    /// pairs in the epoch. The result depends only on the arguments; each epoch has different
    /// pairs.
    pub fn epoch(&self, seed: u64, epoch: usize, real: usize) -> Vec<SyntheticPair> {
        let variants = self.settings.variants_beside(self.catalog.len(), real);
        let hard = (variants as f64 * self.settings.hard_share).round() as usize;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(epoch as u64);
        let mut pairs = Vec::new();
        for (domain, names) in self.catalog.domains() {
            let mut taken: HashSet<String> = names.iter().map(|name| normalize(name)).collect();
            taken.extend(self.forbidden.get(domain).into_iter().flatten().cloned());
            for name in names.iter().filter(|name| !self.passes_over(domain, name)) {
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

    /// Draws one typo of `name`. With `hard`, it prefers a hard typo and falls back to an easy one.
    /// Returns `None` when no allowed typo is drawn.
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
        // Typos of a long name are rarely hard, and an easy typo teaches more than none.
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

/// Draws one edit: first the kind of slip, drawn again when it is not possible in this text, then
/// the place.
fn slip(rates: &SlipRates, keyboard: Keyboard, text: &[char], random: &mut impl RngExt) -> Option<Edit> {
    let text = lower(text);
    let weights = Slip::ALL.map(|kind| rates.kinds.get(&kind).copied().unwrap_or_default());
    for _ in 0..TRIES {
        let edits = edits(Slip::ALL[weighted(&weights, random)?], &text, keyboard);
        let later: Vec<&Edit> = edits.iter().filter(|edit| edit.at > 0).collect();
        // People watch the first letter while they type it, so its slips are drawn a quarter as
        // often as their share.
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

/// Draws a position in proportion to its weight. Returns `None` when every weight is zero.
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
