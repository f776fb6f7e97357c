//! The training pair: a typo, and the correction a person accepted.
//!
//! Owns the row as the table stores it, the rules that decide whether a row may be trained on, and
//! the templates that render a text as model input. Never accesses a network, a file or a clock.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::postgres_time::PostgresTime;
use crate::row_identity::RowId;
use crate::text::{collapse, compose};

pub use crate::text::normalize;

/// Maximum length of a typo, correction or domain, in characters. Longer ones are not trained on.
pub const MAX_CHARACTERS: usize = 256;

/// One row of the corrections table, as PostgREST, Realtime and a webhook deliver it.
///
/// `Debug` shows only the id and the lengths: pairs are text that people typed, and such text
/// doesn't belong in logs.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Primary key as a number; see [`RowId`].
    pub id: i64,
    /// Primary key, where it is a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_id: Option<Box<str>>,
    /// Text that was typed.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub typo: String,
    /// Correction that was accepted.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub corrected: String,
    /// Form field the text was typed into, such as `brand` or `model`.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub domain: String,
    /// Time of the row's insert, as the database wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Row")
            .field("id", &self.id)
            .field("typo_chars", &self.typo.chars().count())
            .field("corrected_chars", &self.corrected.chars().count())
            .finish_non_exhaustive()
    }
}

/// Reason a row is stored but excluded from training.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Refusal {
    /// The typo or the correction is empty, or has no visible character.
    Empty,
    /// The typo, the correction or the domain is longer than [`MAX_CHARACTERS`].
    TooLong,
    /// The typo or the correction holds a control character.
    ControlCharacters,
    /// The typo equals the correction after normalizing, so there is nothing to learn.
    Unchanged,
    /// The correction is not a name in the given catalog.
    #[serde(rename = "not-in-catalogue")]
    #[strum(serialize = "not-in-catalogue")]
    NotInCatalog,
    /// Rows arrived much faster than is usual for this table.
    Burst,
    /// Other rows correct the same typo to something else, and this correction did not win the
    /// vote.
    Conflict,
}

impl Refusal {
    /// All reasons, in the order of the checks.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// True when a person may override the refusal. The other reasons are about the text itself:
    /// nobody can make a model learn from it.
    pub fn is_judgment(self) -> bool {
        match self {
            Self::Empty | Self::TooLong | Self::ControlCharacters | Self::Unchanged => false,
            Self::NotInCatalog | Self::Burst | Self::Conflict => true,
        }
    }

    /// Returns the name used in message headers, metrics and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns the reason with this [`name`](Self::name), or `None` if there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

impl Row {
    /// Returns the row's id as the table has it.
    pub fn row_id(&self) -> RowId {
        RowId::new(self.id, self.text_id.as_deref())
    }

    /// Returns the row with this id.
    #[must_use]
    pub fn with_id(self, id: &RowId) -> Self {
        Self { id: id.number(), text_id: id.text().map(Into::into), ..self }
    }

    /// Returns the row's place in the order of inserts: its id, or the time of its insert in microseconds
    /// where ids are texts. A row without such a time comes first.
    pub fn insert_order(&self) -> i64 {
        match &self.text_id {
            None => self.id,
            Some(_) => {
                let created = self.created_at.as_deref().and_then(PostgresTime::read).map(|read| read.at);
                let is_finite = |at: &Timestamp| ![Timestamp::MIN, Timestamp::MAX].contains(at);
                created.filter(is_finite).map_or(0, Timestamp::as_microsecond)
            }
        }
    }

    /// Checks the row's own text. The reasons that need more than one row (catalog, rate, other
    /// rows) are checked where that knowledge is.
    ///
    /// # Errors
    /// The first [`Refusal`] that applies, in the order of [`Refusal::ALL`].
    pub fn check(&self) -> Result<(), Refusal> {
        let sides = [self.typo.as_str(), self.corrected.as_str()];
        if sides.iter().any(|text| compose(text).is_empty()) {
            return Err(Refusal::Empty);
        }
        let too_long = |text: &str| text.chars().count() > MAX_CHARACTERS;
        if sides.iter().any(|text| too_long(text)) || too_long(&self.domain) {
            return Err(Refusal::TooLong);
        }
        if sides.iter().any(|text| text.chars().any(char::is_control)) {
            return Err(Refusal::ControlCharacters);
        }
        if normalize(&self.typo) == normalize(&self.corrected) {
            return Err(Refusal::Unchanged);
        }
        Ok(())
    }
}

/// Converts a domain to one token of a message subject: the [normalized](normalize) domain in ASCII
/// letters, digits, `-` and `_`. Every other character becomes `_`, and an empty domain becomes
/// `unknown`. A subject's `.`, `*`, `>` and spaces can't pass through.
pub fn subject_token(domain: &str) -> String {
    let token: String = normalize(domain)
        .chars()
        .take(64)
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '-' | '_' => c,
            _ => '_',
        })
        .collect();
    if token.is_empty() { "unknown".to_owned() } else { token }
}

/// Words in the texts that the backend indexes, `car brand: <brand> models: <model>` and
/// `car model: <model> by <brand>`, besides those of its queries.
const INDEX_WORDS: [&str; 2] = [" models: ", " by "];

/// Templates that render a text as model input by its domain, such as `car brand: toyta`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Templates {
    /// Template per normalized domain; `{text}` stands for the text.
    #[serde(deserialize_with = "by_normalized_domain")]
    domains: BTreeMap<String, String>,
    /// Template of every other domain.
    fallback: String,
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
        Self { domains: domains.collect(), fallback }
    }

    /// Replaces the templates of domains, and keeps the one of every other domain.
    #[must_use]
    pub fn with_domains(self, domains: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::new(domains, self.fallback)
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

    /// Returns the texts around `{text}` of all templates, and the words of the texts that the backend
    /// indexes. They are no part of any name. A space at the beginning or end of such a
    /// text says that a word ends there.
    pub fn phrases(&self) -> Vec<String> {
        let all = self.domains.values().chain([&self.fallback]).map(|template| format!(" {template} "));
        let parts = all.flat_map(|template| template.split("{text}").map(str::to_owned).collect::<Vec<_>>());
        let mut phrases: Vec<String> = parts.filter(|part| !part.trim().is_empty()).collect();
        phrases.extend(INDEX_WORDS.map(str::to_owned));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(typo: &str, corrected: &str) -> Row {
        Row {
            id: 1,
            typo: typo.into(),
            corrected: corrected.into(),
            domain: "brand".into(),
            ..Row::default()
        }
    }

    #[test]
    fn a_row_is_refused_for_the_first_reason_that_applies() {
        assert_eq!(row("toyta", "Toyota").check(), Ok(()));
        assert_eq!(row("  ", "Toyota").check(), Err(Refusal::Empty));
        assert_eq!(row("toyta", "\u{feff}\u{200e}").check(), Err(Refusal::Empty), "nobody sees a text");
        assert_eq!(row(&"x".repeat(257), "Toyota").check(), Err(Refusal::TooLong));
        assert_eq!(row(&"é".repeat(256), "Toyota").check(), Ok(()), "characters are counted, not bytes");
        let domain = "x".repeat(257);
        assert_eq!(Row { domain, ..row("toyta", "Toyota") }.check(), Err(Refusal::TooLong));
        assert_eq!(row("toy\u{0}ta", "Toyota").check(), Err(Refusal::ControlCharacters));
        assert_eq!(row(" toyota", "TOYOTA ").check(), Err(Refusal::Unchanged));
        assert_eq!(row("e\u{301}lan\u{200e}", "Élan").check(), Err(Refusal::Unchanged));
    }

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
    fn null_and_absent_columns_read_as_empty_text() {
        let row: Row = serde_json::from_str(r#"{"id":7,"typo":null,"corrected":"Audi"}"#).unwrap();
        assert_eq!((row.typo.as_str(), row.domain.as_str()), ("", ""));
        assert_eq!(row.check(), Err(Refusal::Empty));
    }

    #[test]
    fn debug_shows_no_text() {
        let shown = format!("{:?}", row("secret typo", "secret brand"));
        assert!(!shown.contains("secret"), "{shown}");
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

    proptest! {
        #[test]
        fn a_subject_token_is_always_one_safe_token(domain in ".{0,80}") {
            let token = subject_token(&domain);
            prop_assert!(!token.is_empty() && token.len() <= 64);
            prop_assert!(token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_'));
        }
    }
}
