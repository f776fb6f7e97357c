//! Digest of a row: enough of its content to tell a repeat from a change, and a change from another
//! row that has the same id.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::correction::Row;
use crate::postgres_time::PostgresTime;

/// Digest of a row's texts and of the time of its insert. Every stored row carries it in a header,
/// so that the ledger can be read without the rows' texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowDigest {
    /// Digest of typo, correction and domain.
    pub(super) content: u64,
    /// Digest of the time of the insert; 0 when it is unknown. An update does not change that time,
    /// so two rows with one id and different times are different rows.
    pub(super) created: u32,
}

impl RowDigest {
    /// Digest of a row of which nothing but the id is known.
    pub(super) const UNKNOWN: Self = Self { content: 0, created: 0 };

    pub(super) fn of(row: &Row) -> Self {
        let mut texts = Sha256::new();
        for text in [&row.typo, &row.corrected, &row.domain] {
            texts.update((text.len() as u64).to_le_bytes());
            texts.update(text);
        }
        Self { content: first_bytes(texts), created: row.created_at.as_deref().map_or(0, created) }
    }

    /// Returns true when both digests may be of one row: its time of insert is the same, or is
    /// unknown.
    pub(super) fn may_be_same_row(self, other: Self) -> bool {
        self.created == other.created || self.created == 0 || other.created == 0
    }

    /// Parses the text form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (content, created) = text.split_once('-')?;
        let content = u64::from_str_radix(content, 16).ok()?;
        Some(Self { content, created: u32::from_str_radix(created, 16).ok()? })
    }
}

/// Writes the text form: both digests in hexadecimal.
impl fmt::Display for RowDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}-{:08x}", self.content, self.created)
    }
}

fn first_bytes(digest: Sha256) -> u64 {
    let bytes = digest.finalize();
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Digests a time. PostgREST and Realtime write the same time in different ways, so the time is
/// digested, not its text.
fn created(text: &str) -> u32 {
    let mut time = Sha256::new();
    match PostgresTime::read(text) {
        Some(created) => time.update(created.at.as_microsecond().to_le_bytes()),
        None => time.update(text.trim()),
    }
    // 0 stands for an unknown time.
    ((first_bytes(time) >> 32) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(typo: &str, created_at: Option<&str>) -> Row {
        Row {
            text_id: None,
            id: 1,
            typo: typo.to_owned(),
            corrected: "Toyota".to_owned(),
            domain: "brand".to_owned(),
            created_at: created_at.map(str::to_owned),
        }
    }

    #[test]
    fn one_time_has_one_digest_however_it_is_written() {
        let of = |at| RowDigest::of(&row("toyta", Some(at)));
        let forms = [
            "2026-11-22T09:50:04.8095+00:00",
            "2026-11-22T09:50:04.809500Z",
            "2026-11-22T10:50:04.8095+01:00",
            "2026-11-22 09:50:04.8095",
            "2026-11-22T09:50:04.8095",
        ];
        for form in forms {
            assert_eq!(of(form), of(forms[0]), "{form}");
        }
        assert_ne!(of("2026-11-22T09:50:04.8096Z"), of(forms[0]));
        assert_ne!(of("last week"), of("this week"));
    }

    #[test]
    fn a_row_without_a_time_may_be_any_row_with_its_id() {
        let (known, unknown) =
            (RowDigest::of(&row("a", Some("2026-01-01T00:00:00Z"))), RowDigest::of(&row("a", None)));
        assert!(known.may_be_same_row(unknown) && unknown.may_be_same_row(known));
        let other = RowDigest::of(&row("a", Some("2026-01-02T00:00:00Z")));
        assert!(!known.may_be_same_row(other));
    }

    #[test]
    fn moving_a_character_from_one_text_to_the_next_changes_the_digest() {
        let moved = Row { typo: "toyt".to_owned(), corrected: "aToyota".to_owned(), ..row("", None) };
        assert_ne!(RowDigest::of(&moved).content, RowDigest::of(&row("toyta", None)).content);
    }

    proptest! {
        #[test]
        fn the_text_form_comes_back_and_no_text_makes_reading_panic(
            content in any::<u64>(), created in any::<u32>(), text in ".{0,30}",
        ) {
            let digest = RowDigest { content, created };
            prop_assert_eq!(RowDigest::parse(&digest.to_string()), Some(digest));
            let _ = RowDigest::parse(&text);
            let _ = RowDigest::of(&row("a", Some(&text)));
        }
    }
}
