//! What is looked up, and among what.

use std::collections::{BTreeMap, HashMap};

use super::Side;
use crate::correction::normalize;

/// A held-out pair as a question: which name of its domain is meant? No `Debug`: it holds what people typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Query {
    /// Domain of the names it is looked up among.
    pub domain: String,
    /// What was typed.
    pub typo: String,
    /// The right answer.
    pub corrected: String,
    /// Why it is held out.
    pub side: Side,
}

/// The names queries are looked up among, by domain, each once.
#[derive(Clone, Default)]
pub struct Catalog {
    domains: BTreeMap<String, Names>,
}

/// The names of one domain, in the order they were given.
#[derive(Clone, Default)]
pub(super) struct Names {
    /// As they are spelled.
    pub(super) spelled: Vec<String>,
    /// Position by normalized name.
    positions: HashMap<String, usize>,
}

impl Names {
    /// Where a name stands, if it is here.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(&normalize(name)).copied()
    }
}

impl Catalog {
    /// A catalog of `(domain, name)`. Names equal after normalizing are one; the first spelling stays.
    pub fn new<D: Into<String>, N: Into<String>>(names: impl IntoIterator<Item = (D, N)>) -> Self {
        let mut domains: BTreeMap<String, Names> = BTreeMap::new();
        for (domain, name) in names {
            let name = name.into();
            let names = domains.entry(domain.into()).or_default();
            let next = names.spelled.len();
            if *names.positions.entry(normalize(&name)).or_insert(next) == next {
                names.spelled.push(name);
            }
        }
        Self { domains }
    }

    /// Number of names, over all domains.
    pub fn len(&self) -> usize {
        self.domains.values().map(|names| names.spelled.len()).sum()
    }

    /// Whether it holds no name.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The names of each domain, as they are spelled.
    pub fn domains(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.domains.iter().map(|(domain, names)| (domain.as_str(), names.spelled.as_slice()))
    }

    pub(super) fn names(&self, domain: &str) -> Option<&Names> {
        self.domains.get(domain)
    }
}
