//! The training pair: a typo, and the correction a person accepted.
//!
//! Owns the row as the table stores it, and the rules that decide whether a row may be trained on. Never
//! accesses a network, a file or a clock.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::postgres_time::PostgresTime;
use crate::row_identity::RowId;
use crate::text::compose;

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

    proptest! {
        #[test]
        fn a_subject_token_is_always_one_safe_token(domain in ".{0,80}") {
            let token = subject_token(&domain);
            prop_assert!(!token.is_empty() && token.len() <= 64);
            prop_assert!(token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_'));
        }
    }
}
