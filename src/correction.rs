//! The training pair: a typo, and the correction a person accepted.
//!
//! Owns the row as the table stores it, the rules that decide whether a row may be trained on, the
//! normalizing that decides whether two texts are equal, and the templates that render a text as
//! model input. Never accesses a network, a file or a clock.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use strum::VariantArray;

/// Maximum length of a typo or correction, in characters. Longer ones are not trained on.
pub const MAX_CHARACTERS: usize = 256;

/// One row of the corrections table, as PostgREST, Realtime and a webhook deliver it.
///
/// `Debug` shows only the id and the lengths: pairs are text that people typed, and such text
/// doesn't belong in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Primary key.
    pub id: i64,
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
    /// The typo or the correction is empty after trimming.
    Empty,
    /// The typo or the correction is longer than [`MAX_CHARACTERS`].
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
    /// Checks the row's own text. The reasons that need more than one row (catalog, rate, other
    /// rows) are checked where that knowledge is.
    ///
    /// # Errors
    /// The first [`Refusal`] that applies, in the order of [`Refusal::ALL`].
    pub fn check(&self) -> Result<(), Refusal> {
        let sides = [self.typo.as_str(), self.corrected.as_str()];
        if sides.iter().any(|text| text.trim().is_empty()) {
            return Err(Refusal::Empty);
        }
        if sides.iter().any(|text| text.chars().count() > MAX_CHARACTERS) {
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

/// Normalizes a text: trims it, converts it to lower case, and collapses each run of white space to
/// one space. Two texts with the same result count as the same entry.
pub fn normalize(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.extend(word.chars().flat_map(char::to_lowercase));
    }
    normal
}

/// Converts a domain to one token of a message subject: lower-case ASCII letters, digits, `-` and
/// `_`. Every other character becomes `_`, and an empty domain becomes `unknown`. A subject's `.`,
/// `*`, `>` and spaces can't pass through.
pub fn subject_token(domain: &str) -> String {
    let token: String = domain
        .trim()
        .chars()
        .take(64)
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '-' | '_') => c,
            _ => '_',
        })
        .collect();
    if token.is_empty() { "unknown".to_owned() } else { token }
}

/// Templates that render a text as model input by its domain, such as `car brand: toyta`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Templates {
    /// Template per domain; `{text}` stands for the text.
    pub domains: BTreeMap<String, String>,
    /// Template of every other domain.
    pub fallback: String,
}

impl Default for Templates {
    /// The backend's templates: `car brand: {text}` for `brand`, and `car model: {text}` for every
    /// other domain.
    fn default() -> Self {
        Self {
            domains: BTreeMap::from([("brand".to_owned(), "car brand: {text}".to_owned())]),
            fallback: "car model: {text}".to_owned(),
        }
    }
}

impl Templates {
    /// Renders `text` of `domain` as model input.
    pub fn render(&self, domain: &str, text: &str) -> String {
        let template = self.domains.get(domain).unwrap_or(&self.fallback);
        template.replace("{text}", &clean(text))
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

/// Trims a text and collapses its inner white space. The case stays: the tokenizer decides whether
/// case matters.
fn clean(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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
            created_at: None,
        }
    }

    #[test]
    fn a_row_is_refused_for_the_first_reason_that_applies() {
        assert_eq!(row("toyta", "Toyota").check(), Ok(()));
        assert_eq!(row("  ", "Toyota").check(), Err(Refusal::Empty));
        assert_eq!(row(&"x".repeat(257), "Toyota").check(), Err(Refusal::TooLong));
        assert_eq!(row(&"é".repeat(256), "Toyota").check(), Ok(()), "characters are counted, not bytes");
        assert_eq!(row("toy\u{0}ta", "Toyota").check(), Err(Refusal::ControlCharacters));
        assert_eq!(row(" toyota", "TOYOTA ").check(), Err(Refusal::Unchanged));
    }

    #[test]
    fn a_rendered_text_is_taken_apart() {
        let templates = Templates::default();
        for (domain, parsed) in [("brand", Some("brand")), ("model", None)] {
            assert_eq!(templates.parse(&templates.render(domain, "land rovr")), Some((parsed, "land rovr")));
        }
        assert_eq!(templates.parse("toyta"), None);
        let bare = Templates { domains: BTreeMap::new(), fallback: "{text}".to_owned() };
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

    proptest! {
        #[test]
        fn a_subject_token_is_always_one_safe_token(domain in ".{0,80}") {
            let token = subject_token(&domain);
            prop_assert!(!token.is_empty() && token.len() <= 64);
            prop_assert!(token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_'));
        }

        #[test]
        fn normalizing_twice_changes_nothing(text in ".{0,40}") {
            let once = normalize(&text);
            prop_assert_eq!(normalize(&once), once);
        }
    }
}
