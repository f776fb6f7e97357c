//! Queries, and the catalog of names they are looked up in.

use std::collections::{BTreeMap, HashMap};

use super::Side;
use crate::catalog_row::CatalogRow;
use crate::correction::normalize;
use crate::templates::Templates;
use crate::text::compose;

/// A held-out pair as a query: the typo, and the name it should find. No `Debug`, because it holds
/// text that people typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Query {
    /// Domain whose names are searched, normalized.
    pub domain: String,
    /// Text that was typed.
    pub typo: String,
    /// Name the query should find.
    pub corrected: String,
    /// Reason the pair is held out.
    pub side: Side,
}

/// Names that queries are looked up in, by normalized domain. Each name occurs once per domain, and is
/// indexed by one text or several, as in the backend.
#[derive(Clone, Default)]
pub struct Catalog {
    domains: BTreeMap<String, Names>,
}

/// Names of one domain, in the given order.
#[derive(Clone, Default)]
pub(super) struct Names {
    /// Names as they are spelled, composed.
    pub(super) spelled: Vec<String>,
    /// Position by normalized name.
    positions: HashMap<String, usize>,
    /// Texts that the backend indexes, each with the position of its name. A name without any is indexed
    /// as it is asked for.
    indexed: Vec<(usize, String)>,
}

impl Names {
    /// Returns the position of a name, or `None` if the domain lacks the name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(&normalize(name)).copied()
    }
}

impl Catalog {
    /// Builds a catalog from `(domain, name)` pairs. Domains and names that are equal after
    /// normalizing count as one; the first spelling of a name is kept, [composed](compose).
    pub fn new<D: AsRef<str>, N: AsRef<str>>(names: impl IntoIterator<Item = (D, N)>) -> Self {
        let mut domains: BTreeMap<String, Names> = BTreeMap::new();
        for (domain, name) in names {
            let name = name.as_ref();
            let names = domains.entry(normalize(domain.as_ref())).or_default();
            let next = names.spelled.len();
            if *names.positions.entry(normalize(name)).or_insert(next) == next {
                names.spelled.push(compose(name));
            }
        }
        Self { domains }
    }

    /// Adds the texts that the backend indexes for rows of names. A row whose name the catalog lacks is
    /// left out.
    #[must_use]
    pub fn with_indexed<'r>(
        mut self,
        rows: impl IntoIterator<Item = &'r CatalogRow>,
        templates: &Templates,
    ) -> Self {
        for row in rows {
            for (domain, name) in row.names() {
                if let Some(text) = templates.render_indexed(domain, row)
                    && let Some(names) = self.domains.get_mut(&normalize(domain))
                    && let Some(position) = names.position(name)
                {
                    names.indexed.push((position, text));
                }
            }
        }
        for names in self.domains.values_mut() {
            names.indexed.sort_unstable();
            names.indexed.dedup();
        }
        self
    }

    /// Returns the number of texts that rows of names are indexed by.
    pub fn indexed(&self) -> usize {
        self.domains.values().map(|names| names.indexed.len()).sum()
    }

    /// Returns the texts by which a domain's names are found, each with the position of its name, in the
    /// order of the names.
    pub fn texts(&self, domain: &str, templates: &Templates) -> Vec<(usize, String)> {
        let Some(names) = self.names(domain) else { return Vec::new() };
        let mut texts = names.indexed.clone();
        let mut is_indexed = vec![false; names.spelled.len()];
        names.indexed.iter().for_each(|(position, _)| is_indexed[*position] = true);
        let alone = names.spelled.iter().enumerate().filter(|(position, _)| !is_indexed[*position]);
        texts.extend(alone.map(|(position, name)| (position, templates.render(domain, name))));
        texts.sort_by_key(|(position, _)| *position);
        texts
    }

    /// Returns the number of names in all domains.
    pub fn len(&self) -> usize {
        self.domains.values().map(|names| names.spelled.len()).sum()
    }

    /// True when the catalog holds no name.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Iterates over the domains, each with its names as they are spelled.
    pub fn domains(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.domains.iter().map(|(domain, names)| (domain.as_str(), names.spelled.as_slice()))
    }

    /// Returns the position of a query's right name among the names of its domain.
    pub(super) fn position(&self, query: &Query) -> Option<usize> {
        self.names(&query.domain)?.position(&query.corrected)
    }

    pub(super) fn names(&self, domain: &str) -> Option<&Names> {
        self.domains.get(&normalize(domain))
    }
}
