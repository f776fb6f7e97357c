//! A committed change of a row.

use jiff::Timestamp;

use super::super::postgres::primary_key::Key;
use super::Record;
use super::place::Place;

/// Kind of a change, by the name that Realtime and webhooks give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supabase) enum ChangeKind {
    Insert,
    Update,
    Delete,
}

impl ChangeKind {
    pub(in crate::supabase) fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// One committed change of a row.
#[derive(Debug)]
pub(in crate::supabase) struct Commit {
    /// Number of the row: the place of its insert in the sequence. In a table of numbers, this is its
    /// id.
    pub(in crate::supabase) number: i64,
    /// Primary key of the row after the change.
    pub(in crate::supabase) key: Key,
    pub(in crate::supabase) kind: ChangeKind,
    /// Row after the change; for a delete, the row before it.
    pub(in crate::supabase) record: Record,
    /// Row before an update or a delete.
    pub(in crate::supabase) old: Option<Record>,
    pub(in crate::supabase) at: Timestamp,
}

impl Commit {
    /// Returns the place of the row in the order of times.
    pub(super) fn place(&self) -> Place {
        Place::of_row(&self.record["created_at"], self.key.clone())
    }
}

/// Formats a commit time as Realtime does: three decimals and `Z`.
pub(in crate::supabase) fn commit_timestamp(at: Timestamp) -> String {
    let millis = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
    millis.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_realtime_does() {
        let at = Timestamp::from_microsecond(1_795_341_004_809_500).expect("in range");
        assert!(commit_timestamp(at).ends_with(":04.809Z"), "{}", commit_timestamp(at));
    }
}
