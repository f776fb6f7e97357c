//! The place of a row in the order of `created_at` and then `id`.

use jiff::Timestamp;
use serde_json::Value;

use super::super::postgres::primary_key::{Cut, Key};
use super::super::postgres::timestamp::stored;

/// Value of the column `created_at`. As in PostgreSQL, null sorts above every time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::supabase) enum Moment {
    At(Timestamp),
    Null,
}

impl Moment {
    /// Reads a value of the column. A value that is no time, which only tests can store, is as null.
    pub(in crate::supabase) fn of(value: &Value) -> Self {
        value.as_str().and_then(stored).map_or(Self::Null, Self::At)
    }

    pub(in crate::supabase) fn time(self) -> Option<Timestamp> {
        match self {
            Self::At(time) => Some(time),
            Self::Null => None,
        }
    }
}

/// Place in the order: a row's own one, or one between two rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::supabase) struct Place {
    pub(in crate::supabase) moment: Moment,
    pub(in crate::supabase) cut: Cut,
}

impl Place {
    /// Place before all rows.
    pub(in crate::supabase) const FIRST: Self = Self { moment: Moment::At(Timestamp::MIN), cut: Cut::First };
    /// Place after all rows.
    pub(in crate::supabase) const LAST: Self = Self { moment: Moment::Null, cut: Cut::Last };

    /// Returns the place of a row.
    pub(in crate::supabase) fn of_row(created_at: &Value, key: Key) -> Self {
        Self { moment: Moment::of(created_at), cut: Cut::before(key) }
    }
}
