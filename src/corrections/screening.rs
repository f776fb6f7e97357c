//! Screening of a row beyond its own text: by the names in the catalog, and by the usual rate of
//! rows, which [`history`](super::history) knows.
//!
//! The caller provides the names. Conflicting corrections do not concern a single row; they are
//! resolved when a dataset is built.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::history::BurstLimit;
use crate::correction::{Refusal, Row, normalize};

/// Rules that screen rows beyond their own text. The default rules accept every row.
#[derive(Debug, Clone, Default)]
pub struct ScreeningRules {
    /// Names that a correction may have; `None` without a catalog.
    pub names: Option<Arc<KnownNames>>,
    /// Limit on the rate of rows; `None` for any rate.
    pub burst: Option<BurstLimit>,
}

impl ScreeningRules {
    pub(super) fn check_name(&self, row: &Row) -> Result<(), Refusal> {
        match &self.names {
            Some(names) if !names.allow(row) => Err(Refusal::NotInCatalog),
            _ => Ok(()),
        }
    }
}

/// Names that a correction may have, by domain. Names without a domain hold for every domain.
#[derive(Default, PartialEq, Eq)]
pub struct KnownNames {
    domains: HashMap<String, HashSet<String>>,
    anywhere: HashSet<String>,
}

impl fmt::Debug for KnownNames {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KnownNames").field("count", &self.len()).finish_non_exhaustive()
    }
}

impl KnownNames {
    /// Collects names from `(domain, name)`; a name with an empty domain holds for all domains.
    pub fn new(names: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>) -> Self {
        let mut known = Self::default();
        for (domain, name) in names {
            let domain = normalize(domain.as_ref());
            let names = match domain.is_empty() {
                true => &mut known.anywhere,
                false => known.domains.entry(domain).or_default(),
            };
            names.insert(normalize(name.as_ref()));
        }
        known
    }

    /// Returns the number of names over all domains.
    pub fn len(&self) -> usize {
        self.anywhere.len() + self.domains.values().map(HashSet::len).sum::<usize>()
    }

    /// Returns true when there are no names.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true when the correction is a known name, or when the catalog has no names for the
    /// row's domain.
    fn allow(&self, row: &Row) -> bool {
        let name = normalize(&row.corrected);
        let of_domain = self.domains.get(&normalize(&row.domain));
        if of_domain.is_none() && self.anywhere.is_empty() {
            return true;
        }
        self.anywhere.contains(&name) || of_domain.is_some_and(|names| names.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            id: 1,
            typo: "toyta".to_owned(),
            corrected: "Toyota".to_owned(),
            domain: "Brand ".to_owned(),
            ..Row::default()
        }
    }

    #[test]
    fn a_correction_must_be_a_name_of_its_domain_where_the_catalog_has_one() {
        let names = |domain: &str| KnownNames::new([(domain, " TOYOTA ")]);
        let with = |names| ScreeningRules { names: Some(Arc::new(names)), burst: None };
        let other = Row { corrected: "Toyote".to_owned(), ..row() };
        for domain in ["brand", ""] {
            let rules = with(names(domain));
            assert_eq!(rules.check_name(&row()), Ok(()));
            assert_eq!(rules.check_name(&other), Err(Refusal::NotInCatalog));
        }
        assert_eq!(with(names("model")).check_name(&other), Ok(()), "nothing is known of this domain");
        assert_eq!(ScreeningRules::default().check_name(&other), Ok(()));
    }
}
