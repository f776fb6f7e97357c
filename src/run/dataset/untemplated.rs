//! Rows whose domain has no template. A misspelled domain or a missing column shows here.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::templates::Templates;
use crate::text::label;

/// Largest number of domains that a sentence names.
const NAMED: usize = 8;

/// Number of rows of each domain without a template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Untemplated(BTreeMap<String, usize>);

impl Untemplated {
    /// Keeps, of the numbers of rows of normalized domains, those that no template covers.
    pub(super) fn of(mut rows: BTreeMap<String, usize>, templates: &Templates) -> Self {
        rows.retain(|domain, _| !templates.covers(domain));
        Self(rows)
    }

    /// Returns one sentence for people, or `None` when every domain has a template.
    pub fn sentence(&self, templates: &Templates) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut domains: Vec<(&String, &usize)> = self.0.iter().collect();
        domains.sort_by_key(|(domain, rows)| (Reverse(**rows), *domain));
        let mut named: Vec<String> = domains
            .iter()
            .take(NAMED)
            .map(|(domain, rows)| match domain.is_empty() {
                true => format!("{rows} without a domain"),
                false => format!("{rows} of {:?}", label(domain)),
            })
            .collect();
        match domains.len().saturating_sub(NAMED) {
            0 => {}
            more => named.push(format!("others of {more} more domains")),
        }
        Some(format!(
            "rows of a domain without a template: {} ({}), rendered as {:?}",
            self.0.values().sum::<usize>(),
            named.join(", "),
            templates.fallback()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_without_a_template_are_told_once_with_their_rows() {
        let templates = Templates::default();
        let mut rows = BTreeMap::new();
        for domain in ["brand", "model", "trim", "", "trim"] {
            *rows.entry(domain.to_owned()).or_insert(0) += 1;
        }
        let untemplated = Untemplated::of(rows.clone(), &templates);
        assert_eq!((untemplated.0.values().sum::<usize>(), untemplated.0.len()), (3, 2));
        let sentence = untemplated.sentence(&templates).unwrap();
        assert!(
            sentence.contains("template: 3 (") && sentence.contains("2 of \"trim\", 1 without a domain"),
            "{sentence}"
        );
        rows.extend((0..20).map(|number| (format!("d{number}"), 1)));
        let untemplated = Untemplated::of(rows, &templates);
        assert!(untemplated.sentence(&templates).unwrap().contains("others of 14 more domains"));
        assert_eq!(Untemplated::default().sentence(&templates), None);
    }
}
