//! The place of a row in the order of `created_at` and then `id`.

use jiff::Timestamp;
use serde_json::Value;

use super::primary_key::{Cut, Key};

/// Value of the column `created_at`. As in PostgreSQL, null sorts above every time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    At(Timestamp),
    Null,
}

impl Moment {
    /// Reads a value of the column. A value that is no time, which only tests can store, is as null.
    pub(super) fn of(value: &Value) -> Self {
        value.as_str().and_then(|text| text.parse().ok()).map_or(Self::Null, Self::At)
    }

    pub(super) fn time(self) -> Option<Timestamp> {
        match self {
            Self::At(time) => Some(time),
            Self::Null => None,
        }
    }
}

/// Place in the order: a row's own one, or one between two rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) moment: Moment,
    pub(super) cut: Cut,
}

impl Place {
    /// Place before all rows.
    pub(super) const FIRST: Self = Self { moment: Moment::At(Timestamp::MIN), cut: Cut::First };
    /// Place after all rows.
    pub(super) const LAST: Self = Self { moment: Moment::Null, cut: Cut::Last };

    /// Returns the place of a row.
    pub(super) fn of_row(created_at: &Value, key: Key) -> Self {
        Self { moment: Moment::of(created_at), cut: Cut::before(key) }
    }
}
