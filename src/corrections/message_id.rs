//! Message ids of the streams of pairs: which row a message holds, in which version, and why.
//!
//! ```text
//! <table>:<id>                       a row as it came in
//! <table>:<id>:s<series>             likewise; the id had been used by an earlier row
//! <table>:<id>[:s..]:v<version>      the row with changed text
//! <table>:<id>[:s..][:v..]:released  the row as a person released it
//! <table>:<id>[:s..]:dropped         the tombstone of a row whose text was erased
//! ```
//!
//! Two workers that store the same change at the same moment publish the same message id, and the
//! broker keeps only one of the two messages.

use std::fmt;

use crate::row_identity::{id_of, number_in, series_of};

/// Suffix of a released row's message id.
const RELEASED: &str = ":released";
/// Suffix of a tombstone's message id.
const DROPPED: &str = ":dropped";

/// Message id of a row, without the table's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageId {
    /// Number of the row.
    pub(super) number: i64,
    /// Version of the row's text, from 1.
    pub(super) version: u16,
    pub(super) role: MessageRole,
}

/// Role of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageRole {
    /// The row itself.
    Row,
    /// The row as a person released it.
    Released,
    /// The tombstone of a row whose text was erased.
    Tombstone,
}

impl MessageId {
    /// Returns the id of the message that holds a row.
    pub(super) fn of_row(number: i64, version: u16) -> Self {
        Self { number, version, role: MessageRole::Row }
    }

    /// Parses the message id of a row of this table.
    pub(super) fn parse(text: &str, table: &str) -> Option<Self> {
        let rest = text.strip_prefix(table)?.strip_prefix(':')?;
        let (rest, role) = match (rest.strip_suffix(RELEASED), rest.strip_suffix(DROPPED)) {
            (Some(rest), _) => (rest, MessageRole::Released),
            (None, Some(rest)) => (rest, MessageRole::Tombstone),
            (None, None) => (rest, MessageRole::Row),
        };
        let mut parts = rest.split(':').peekable();
        let id = parts.next()?.parse().ok()?;
        let mut numbered = |prefix: char| {
            let number = parts.peek()?.strip_prefix(prefix)?.parse::<u32>().ok()?;
            parts.next();
            Some(number)
        };
        let series = numbered('s').unwrap_or(0);
        let version = u16::try_from(numbered('v').unwrap_or(1)).ok()?;
        match parts.next() {
            None => Some(Self { number: number_in(id, series)?, version, role }),
            Some(_) => None,
        }
    }

    /// Returns the whole message id.
    pub(super) fn in_table(self, table: &str) -> String {
        format!("{table}:{self}")
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", id_of(self.number))?;
        if series_of(self.number) > 0 {
            write!(formatter, ":s{}", series_of(self.number))?;
        }
        if self.version > 1 {
            write!(formatter, ":v{}", self.version)?;
        }
        formatter.write_str(match self.role {
            MessageRole::Row => "",
            MessageRole::Released => RELEASED,
            MessageRole::Tombstone => DROPPED,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_id_says_row_version_and_role() {
        let number = |series| number_in(7, series).unwrap();
        for (number, version, role, text) in [
            (number(0), 1, MessageRole::Row, "pairs:7"),
            (number(2), 1, MessageRole::Row, "pairs:7:s2"),
            (number(0), 3, MessageRole::Row, "pairs:7:v3"),
            (number(1), 2, MessageRole::Released, "pairs:7:s1:v2:released"),
            (number(0), 1, MessageRole::Tombstone, "pairs:7:dropped"),
        ] {
            let id = MessageId { number, version, role };
            assert_eq!(id.in_table("pairs"), text);
            assert_eq!(MessageId::parse(text, "pairs"), Some(id));
        }
        for foreign in
            ["other:7", "pairs", "pairs:", "pairs:a", "pairs:7:x", "pairs:7:v2:s1", "pairs:7:v99999"]
        {
            assert_eq!(MessageId::parse(foreign, "pairs"), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "(pairs)?:?[-0-9a-z:]{0,30}") {
            let _ = MessageId::parse(&text, "pairs");
        }
    }
}
