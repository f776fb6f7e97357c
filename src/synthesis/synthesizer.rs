//! Synthetic pairs of an epoch.

use std::collections::{HashMap, HashSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rapidfuzz::fuzz;

use super::domain_names::DomainNames;
use super::draw::{Draw, TRIES};
use super::{SlipRates, SlipSet, SynthesisSettings};
use crate::correction::normalize;
use crate::evaluate::{Catalog, FuzzyName, FuzzyQuery, FuzzyRule, HoldOut};

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
/// in one epoch. A shortened name never begins another name, nor is it what two names become without a
/// word; no word of another name is ever added.
#[derive(Clone)]
pub struct Synthesizer {
    catalog: Catalog,
    rates: SlipRates,
    settings: SynthesisSettings,
    hold_out: HoldOut,
    /// Additional typos that must not be made, by domain; both are normalized.
    forbidden: HashMap<String, HashSet<String>>,
    /// Names by domain, when the slips can shorten one or add a word to it.
    names: HashMap<String, DomainNames>,
    /// Names without typos, by domain; both are normalized.
    passed_over: HashMap<String, HashSet<String>>,
}

impl Synthesizer {
    /// Creates a synthesizer for every name of `catalog`. On purpose, this includes the names of
    /// held-out corrections: the backend knows the catalog, and synthesis exists for the names that
    /// nobody has mistyped yet.
    pub fn new(catalog: Catalog, rates: SlipRates, settings: SynthesisSettings, hold_out: HoldOut) -> Self {
        let names = match settings.slips {
            SlipSet::Original => HashMap::new(),
            SlipSet::Full => catalog
                .domains()
                .map(|(domain, names)| (domain.to_owned(), DomainNames::new(domain, names)))
                .collect(),
        };
        let (forbidden, passed_over) = (HashMap::new(), HashMap::new());
        Self { catalog, rates, settings, hold_out, forbidden, names, passed_over }
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

    /// Returns the number of synthetic pairs of an epoch with this number of real ones, if none is left
    /// out.
    pub(super) fn size(&self, real: usize) -> usize {
        self.catalog.len() * self.settings.variants_beside(self.catalog.len(), real)
    }

    /// Returns the synthetic pairs of one epoch, in catalog order. `real` is the number of real
    /// pairs in the epoch, and `most` the largest number of synthetic ones: each name gets fewer typos
    /// then, and of more names than that, the epochs take turns. The result depends only on the arguments;
    /// each epoch has different pairs.
    pub fn epoch(&self, seed: u64, epoch: usize, real: usize, most: usize) -> Vec<SyntheticPair> {
        let names = self.catalog.len().max(1);
        let variants = self.settings.variants_beside(names, real).min((most / names).max(1));
        let turns = names.div_ceil(most.max(1));
        let mut place = 0;
        let mut is_next = || {
            place += 1;
            (place + epoch).is_multiple_of(turns)
        };
        let hard = (variants as f64 * self.settings.hard_share).round() as usize;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(epoch as u64);
        let mut pairs = Vec::new();
        for (domain, names) in self.catalog.domains() {
            let mut taken: HashSet<String> = names.iter().map(|name| normalize(name)).collect();
            taken.extend(self.forbidden.get(domain).into_iter().flatten().cloned());
            let known = self.names.get(domain);
            for name in names.iter().filter(|name| is_next() && !self.passes_over(domain, name)) {
                let mistyped = Mistyped::new(name);
                for variant in 0..variants {
                    let typo = self.typo(&mistyped, known, variant < hard, &mut taken, &mut random);
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
        name: &Mistyped<'_>,
        known: Option<&DomainNames>,
        hard: bool,
        taken: &mut HashSet<String>,
        random: &mut impl RngExt,
    ) -> Option<String> {
        let words = known.map(|known| known.words.as_slice()).unwrap_or_default();
        let draw = Draw { rates: &self.rates, typing: self.settings.typing(), words };
        let mut easy = None;
        for _ in 0..TRIES {
            let Some(drawn) = draw.typo(name.spelled, hard, random) else { continue };
            let typo = drawn.typo;
            let normal = normalize(&typo);
            if drawn.shortened && known.is_some_and(|known| known.is_ambiguous(&normal, &name.normal)) {
                continue;
            }
            if normal.is_empty() || taken.contains(&normal) || self.hold_out.holds_typo(&normal) {
                continue;
            }
            if !hard || self.ratio(&normal, name) < self.settings.hard_below {
                taken.insert(normal);
                return Some(typo);
            }
            easy = Some((typo, normal));
        }
        // Typos of a long name are rarely hard, and an easy typo teaches more than none.
        let (typo, normal) = easy?;
        taken.insert(normal);
        Some(typo)
    }

    /// Returns the similarity that makes a typo easy: that of the backend's fuzzy matcher. The
    /// versions with the original slips compared normalized texts as they are, and their replays
    /// have to draw the same typos.
    fn ratio(&self, typo: &str, name: &Mistyped<'_>) -> f64 {
        match self.settings.slips {
            SlipSet::Full => FuzzyQuery::new(typo, FuzzyRule::default()).ratio(&name.compared),
            SlipSet::Original => 100.0 * fuzz::ratio(typo.chars(), name.normal.chars()),
        }
    }
}

/// A name, prepared for the draw of its typos.
struct Mistyped<'a> {
    spelled: &'a str,
    normal: String,
    compared: FuzzyName,
}

impl<'a> Mistyped<'a> {
    fn new(spelled: &'a str) -> Self {
        Self { spelled, normal: normalize(spelled), compared: FuzzyName::new(spelled, FuzzyRule::default()) }
    }
}
