//! The header `Prefer`.

use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;

use super::refusal::{Refusal, error};
use super::set;

/// Kinds of preferences, and the values that each may have.
const KNOWN: [(&str, &[&str]); 6] = [
    ("resolution", &["merge-duplicates", "ignore-duplicates"]),
    ("missing", &["default", "null"]),
    ("return", &["representation", "minimal", "headers-only"]),
    ("count", &["exact", "planned", "estimated"]),
    ("tx", &["commit", "rollback"]),
    ("handling", &["strict", "lenient"]),
];

/// Preferences of a client. Of each kind, the first value counts.
#[derive(Debug, Default)]
pub(super) struct Preferences {
    chosen: [Option<&'static str>; KNOWN.len()],
    max_affected: Option<usize>,
    invalid: Vec<String>,
}

impl Preferences {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut preferences = Self::default();
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for text in values.flat_map(|value| value.split(',')).map(str::trim) {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            let kind = KNOWN.iter().position(|(kind, _)| *kind == name);
            let known = kind.and_then(|kind| Some((kind, *KNOWN[kind].1.iter().find(|own| **own == value)?)));
            match known {
                Some((kind, value)) => {
                    preferences.chosen[kind].get_or_insert(value);
                }
                None if name == "max-affected" => {
                    preferences.max_affected = preferences.max_affected.or_else(|| value.parse().ok());
                }
                None if name == "timezone" || text.is_empty() => {}
                None => preferences.invalid.push(text.to_owned()),
            }
        }
        preferences
    }

    fn get(&self, kind: &str) -> Option<&'static str> {
        let place = KNOWN.iter().position(|(own, _)| *own == kind)?;
        self.chosen[place]
    }

    /// Returns true when the preference has this value.
    pub(super) fn is(&self, kind: &str, value: &str) -> bool {
        self.get(kind) == Some(value)
    }

    /// Returns true when the rows that a read matches are counted.
    pub(super) fn counts(&self) -> bool {
        self.get("count").is_some()
    }

    /// Returns true when the rows that a write changes are counted.
    pub(super) fn counts_changes(&self) -> bool {
        self.is("count", "exact") || self.is("count", "estimated")
    }

    /// Refuses preferences that are unknown, when the client asks for that.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.invalid.is_empty() || !self.is("handling", "strict") {
            return Ok(());
        }
        let details = format!("Invalid preferences: {}", self.invalid.join(", "));
        Err(error(400, "PGRST122", "Invalid preferences given with handling=strict").details(details))
    }

    /// Refuses a write that changes too many rows.
    pub(super) fn check_affected(&self, rows: usize) -> Result<(), Refusal> {
        match self.max_affected.filter(|_| self.is("handling", "strict")) {
            Some(most) if rows > most => {
                let text = "Query result exceeds max-affected preference constraint";
                Err(error(400, "PGRST124", text).details(format!("The query affects {rows} rows")))
            }
            _ => Ok(()),
        }
    }

    /// Tells the client which preferences of these kinds were applied.
    pub(super) fn confirm(&self, response: &mut Response, kinds: &[&str]) {
        let applied = KNOWN.iter().zip(self.chosen).filter(|((kind, _), _)| kinds.contains(kind));
        let applied = applied.filter_map(|((kind, _), value)| Some(format!("{kind}={}", value?)));
        let mut applied: Vec<_> = applied.collect();
        if let Some(most) =
            self.max_affected.filter(|_| self.is("handling", "strict") && kinds.contains(&"max-affected"))
        {
            applied.push(format!("max-affected={most}"));
        }
        if !applied.is_empty() {
            set(response, HeaderName::from_static("preference-applied"), &applied.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(text: &'static str) -> Preferences {
        Preferences::read(&HeaderMap::from_iter([(
            HeaderName::from_static("prefer"),
            HeaderValue::from_static(text),
        )]))
    }

    #[test]
    fn the_first_of_each_kind_counts() {
        let preferences = read("return=minimal,count=exact, return=representation,x=y");
        assert!(preferences.is("return", "minimal") && preferences.counts() && preferences.check().is_ok());
        assert!(!read("count=planned").counts_changes() && read("count=planned").counts());
        assert_eq!(read("x=y, handling=strict").check().map_err(|refusal| refusal.status()), Err(400));
        assert!(read("max-affected=1").check_affected(2).is_ok());
        assert!(read("max-affected=1, handling=strict").check_affected(2).is_err());
    }
}
