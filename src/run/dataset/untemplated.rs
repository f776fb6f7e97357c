//! Rows whose domain has no template. A misspelled domain or a missing column shows here.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::correction::Templates;
use crate::text::label;

/// Largest number of domains that a sentence names.
const NAMED: usize = 8;

/// Number of rows of each domain without a template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Untemplated(BTreeMap<String, usize>);

impl Untemplated {
    /// Counts a row of this normalized domain, unless templates cover the domain.
    pub(super) fn count(&mut self, domain: &str, templates: &Templates) {
        if let Some(rows) = self.0.get_mut(domain) {
            *rows += 1;
        } else if !templates.covers(domain) {
            self.0.insert(domain.to_owned(), 1);
        }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.0.values().sum()
    }

    /// Returns the number of domains.
    pub fn domains(&self) -> usize {
        self.0.len()
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
            self.rows(),
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
        let mut untemplated = Untemplated::default();
        for domain in ["brand", "model", "trim", "", "trim"] {
            untemplated.count(domain, &templates);
        }
        assert_eq!((untemplated.rows(), untemplated.domains()), (3, 2));
        let sentence = untemplated.sentence(&templates).unwrap();
        assert!(
            sentence.contains("template: 3 (") && sentence.contains("2 of \"trim\", 1 without a domain"),
            "{sentence}"
        );
        (0..20).for_each(|number| untemplated.count(&format!("d{number}"), &templates));
        assert!(untemplated.sentence(&templates).unwrap().contains("others of 14 more domains"));
        assert_eq!(Untemplated::default().sentence(&templates), None);
    }
}
