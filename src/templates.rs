//! Templates that render texts as the model sees them: what a person types, and what the backend indexes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog_row::CatalogRow;
use crate::text::{collapse, compose, normalize};

/// Texts that the backend indexes for each row of its catalog, by domain.
const INDEXED: [(&str, &str); 2] =
    [("brand", "car brand: {brand} models: {model}"), ("model", "car model: {model} by {brand}")];

/// Templates that render texts as model input, by domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Templates {
    /// Template per normalized domain; `{text}` stands for the text.
    #[serde(deserialize_with = "by_normalized_domain")]
    domains: BTreeMap<String, String>,
    /// Template of every other domain.
    fallback: String,
    /// Template per normalized domain of the text that the backend indexes for a name. `{<domain>}` stands
    /// for the name that the same row of the catalog has of that domain. Records of earlier versions, which
    /// indexed bare names, have no rows of several names.
    #[serde(
        default = "indexed_by_the_backend",
        deserialize_with = "by_normalized_domain",
        skip_serializing_if = "is_of_the_backend"
    )]
    indexed: BTreeMap<String, String>,
}

fn indexed_by_the_backend() -> BTreeMap<String, String> {
    INDEXED.map(|(domain, template)| (domain.to_owned(), template.to_owned())).into()
}

/// Returns true for the backend's own templates, which records leave out.
fn is_of_the_backend(indexed: &BTreeMap<String, String>) -> bool {
    *indexed == indexed_by_the_backend()
}

/// Reads templates of earlier versions, which kept a domain as it was spelled in the settings.
fn by_normalized_domain<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let domains = BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(domains.into_iter().map(|(domain, template)| (normalize(&domain), template)).collect())
}

impl Default for Templates {
    /// The backend's templates: `car brand: {text}` for `brand`, and `car model: {text}` for every
    /// other domain.
    fn default() -> Self {
        Self::new([("brand".to_owned(), "car brand: {text}".to_owned())], "car model: {text}".to_owned())
    }
}

impl Templates {
    /// Collects templates from `(domain, template)`, and the template of every other domain. Of
    /// several templates for one normalized domain, the last one counts.
    pub fn new(domains: impl IntoIterator<Item = (String, String)>, fallback: String) -> Self {
        let domains = domains.into_iter().map(|(domain, template)| (normalize(&domain), template));
        Self { domains: domains.collect(), fallback, indexed: indexed_by_the_backend() }
    }

    /// Replaces the templates of indexed texts, given as `(domain, template)`.
    #[must_use]
    pub fn with_indexed(self, indexed: impl IntoIterator<Item = (String, String)>) -> Self {
        let indexed = indexed.into_iter().map(|(domain, template)| (normalize(&domain), template));
        Self { indexed: indexed.collect(), ..self }
    }

    /// Replaces the templates of domains, and keeps the one of every other domain.
    #[must_use]
    pub fn with_domains(self, domains: impl IntoIterator<Item = (String, String)>) -> Self {
        let domains = domains.into_iter().map(|(domain, template)| (normalize(&domain), template));
        Self { domains: domains.collect(), ..self }
    }

    /// Returns the template of each domain; `default` is that of every other domain.
    pub fn typed(&self) -> impl Iterator<Item = (&str, &str)> {
        let domains = self.domains.iter().map(|(domain, template)| (domain.as_str(), template.as_str()));
        domains.chain([("default", self.fallback.as_str())])
    }

    /// Returns the template of each domain whose names are indexed together with others.
    pub fn indexed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.indexed.iter().map(|(domain, template)| (domain.as_str(), template.as_str()))
    }

    /// Returns true when a domain has a template of its own.
    pub fn has(&self, domain: &str) -> bool {
        self.domains.contains_key(&normalize(domain))
    }

    /// Returns the template of every domain that has none of its own.
    pub fn fallback(&self) -> &str {
        &self.fallback
    }

    /// Returns true when a domain has a template of its own, or when the fallback template names it, as
    /// `car model: {text}` names `model`.
    pub fn covers(&self, domain: &str) -> bool {
        let domain = normalize(domain);
        let fallback = normalize(&self.fallback.replace("{text}", " "));
        let words: Vec<&str> = fallback.split(|letter: char| !letter.is_alphanumeric()).collect();
        self.domains.contains_key(&domain) || words.contains(&domain.as_str()) && !domain.is_empty()
    }

    /// Renders `text` of `domain` as model input.
    ///
    /// The text stays as a person typed it, with white space trimmed and collapsed: the backend
    /// sends a query as typed, and the model's tokenizer decides whether case, accents and invisible
    /// characters matter. Names are [composed](compose) before they get here.
    pub fn render(&self, domain: &str, text: &str) -> String {
        // Most domains are spelled as the templates' are, and normalizing costs more than the rest.
        let own = self.domains.get(domain).or_else(|| self.domains.get(&normalize(domain)));
        let template = own.unwrap_or(&self.fallback);
        template.replace("{text}", &collapse(text))
    }

    /// Renders the text that the backend indexes for the name of this domain in a row of the catalog.
    /// Returns `None` when the domain's names are indexed alone, or when the row lacks a name that the
    /// template asks for.
    pub fn render_indexed(&self, domain: &str, row: &CatalogRow) -> Option<String> {
        let template = self.indexed.get(domain).or_else(|| self.indexed.get(&normalize(domain)))?;
        let parts = parts(template).map(|part| match part {
            Part::Text(text) => Some(Cow::Borrowed(text)),
            Part::Name(of) => row.name_of(&normalize(of)).map(|name| Cow::Owned(collapse(&compose(name)))),
        });
        parts.collect()
    }

    /// Returns the domains whose names the texts of the index are made of, normalized and sorted.
    pub fn indexed_domains(&self) -> Vec<String> {
        let parts = self.indexed.values().flat_map(|template| parts(template));
        let mut domains: Vec<String> = parts
            .filter_map(|part| match part {
                Part::Text(_) => None,
                Part::Name(of) => Some(normalize(of)),
            })
            .collect();
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// Returns the texts around the names of all templates. They are no part of any name. A space at the
    /// beginning or end of such a text says that a word ends there.
    pub fn phrases(&self) -> Vec<String> {
        let all = self.domains.values().chain([&self.fallback]).chain(self.indexed.values());
        let padded = all.map(|template| format!(" {template} "));
        let mut phrases: Vec<String> = padded
            .flat_map(|template| {
                let texts = parts(&template).filter_map(|part| match part {
                    Part::Text(text) => Some(text.to_owned()),
                    Part::Name(_) => None,
                });
                texts.collect::<Vec<_>>()
            })
            .filter(|part| !part.trim().is_empty())
            .collect();
        phrases.sort_unstable();
        phrases.dedup();
        phrases
    }

    /// Splits a rendered text into its domain and its text; the domain is `None` for the fallback
    /// template. Returns `None` when no template fits. When several fit, the longest template
    /// decides.
    pub fn parse<'t>(&self, rendered: &'t str) -> Option<(Option<&str>, &'t str)> {
        let of_domains = self.domains.iter().map(|(domain, template)| (Some(domain.as_str()), template));
        let all = of_domains.chain([(None, &self.fallback)]);
        let fitting = all.filter_map(|(domain, template)| {
            let (before, after) = template.split_once("{text}")?;
            let text = rendered.strip_prefix(before)?.strip_suffix(after)?;
            // A template with nothing but the text would fit everything.
            (before.len() + after.len() > 0).then_some((template.len(), domain, text))
        });
        fitting.max_by_key(|(length, ..)| *length).map(|(_, domain, text)| (domain, text))
    }
}

/// Part of a template.
enum Part<'t> {
    Text(&'t str),
    /// Name in braces, such as `{brand}`.
    Name(&'t str),
}

/// Takes a template apart. A brace without its counterpart is text.
fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            rest = after;
            return Some(Part::Name(name));
        }
        let first = rest.chars().next()?.len_utf8();
        let end = rest[first..].find('{').map_or(rest.len(), |end| first + end);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Part::Text(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correction::subject_token;

    #[test]
    fn a_rendered_text_is_taken_apart() {
        let templates = Templates::default();
        for (domain, parsed) in [("brand", Some("brand")), ("model", None)] {
            assert_eq!(templates.parse(&templates.render(domain, "land rovr")), Some((parsed, "land rovr")));
        }
        assert_eq!(templates.parse("toyta"), None);
        let bare = Templates::new([], "{text}".to_owned());
        assert_eq!(bare.parse("car brand: toyta"), None);
    }

    #[test]
    fn the_index_has_a_text_for_each_name_of_a_row() {
        let row = |names: &[(&str, &str)]| CatalogRow::together(names.iter().copied());
        let car = row(&[("Brand", "Citroe\u{308}n "), ("model", "C4  Cactus")]);
        let templates = Templates::default();
        let of = |domain: &str, row: &CatalogRow| templates.render_indexed(domain, row);
        assert_eq!(of("brand", &car).unwrap(), "car brand: Citroën models: C4 Cactus");
        assert_eq!(of("model", &car).unwrap(), "car model: C4 Cactus by Citroën");
        assert_eq!(of("trim", &car), None);
        assert_eq!(of("brand", &row(&[("brand", "Audi")])), None, "a name is missing");
        assert_eq!(templates.indexed_domains(), ["brand", "model"]);
        let odd = Templates::default().with_indexed([("Brand".to_owned(), "{ {brand} }é{".to_owned())]);
        assert_eq!(odd.render_indexed("brand", &car).unwrap_or_default(), "");
        let odd = Templates::default().with_indexed([("Brand".to_owned(), "} {brand} }é{".to_owned())]);
        assert_eq!(odd.render_indexed("brand", &car).unwrap(), "} Citroën }é{");
        let earlier: Templates = serde_json::from_str(r#"{"domains":{},"fallback":"{text}"}"#).unwrap();
        assert_eq!(earlier.phrases(), [" by ", " car brand: ", " car model: ", " models: "]);
    }

    #[test]
    fn templates_are_the_backends() {
        let templates = Templates::default();
        assert_eq!(templates.render("brand", " toyta "), "car brand: toyta");
        assert_eq!(templates.render("model", "corola\t x"), "car model: corola x");
        assert_eq!(templates.render("trim", "GLX"), "car model: GLX");
    }

    #[test]
    fn the_fallback_covers_the_domain_that_it_names() {
        let templates = Templates::default();
        assert!(["brand", "Model ", "car"].iter().all(|domain| templates.covers(domain)));
        assert!(!["", "trim", "mod", "text", "car model"].iter().any(|domain| templates.covers(domain)));
    }

    #[test]
    fn a_domain_is_one_however_it_is_spelled() {
        let spelled =
            ["größe", "GRÖSSE ".replace("SS", "ß").as_str(), "gro\u{308}ße", " Gro\u{308}\u{200b}ße"]
                .map(str::to_owned);
        for key in &spelled {
            let templates = Templates::new([(key.clone(), "size: {text}".to_owned())], "{text}".to_owned());
            for domain in &spelled {
                assert_eq!(templates.render(domain, " XL "), "size: XL", "{key:?} {domain:?}");
                assert!(templates.has(domain));
                assert_eq!(subject_token(domain), "gr__e", "{domain:?}");
            }
        }
        let earlier = r#"{"domains":{"Brand":"brand: {text}"},"fallback":"{text}"}"#;
        let earlier: Templates = serde_json::from_str(earlier).unwrap();
        assert_eq!(earlier.render("brand ", "Kia"), "brand: Kia");
        assert_eq!(subject_token(" Car  Brand"), "car_brand");
    }

    #[test]
    fn a_typo_reaches_the_model_as_it_was_typed() {
        let templates = Templates::default();
        assert_eq!(templates.render("Brand", " cite\u{301}  Z\u{200d}"), "car brand: cite\u{301} Z\u{200d}");
    }
}
