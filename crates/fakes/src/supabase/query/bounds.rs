//! Bounds on the keys and places of the rows that conditions can match. Reading only the rows within
//! makes a page cheap, as an index does. Each row within must still be checked.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;

use super::super::postgres::primary_key::{Cut, Key};
use super::super::table::{Moment, Place};
use super::filter::{Filter, Test};

/// Returns the range of keys outside of which no row satisfies all conditions.
pub(super) fn keys(filters: &[Filter]) -> Range<Cut> {
    let bound = |side: Side| side.tightest(filters.iter().map(|filter| side.cut(filter)));
    bound(Side::Begin).unwrap_or(Cut::First)..bound(Side::End).unwrap_or(Cut::Last)
}

/// Returns the range of places outside of which no row satisfies all conditions.
pub(super) fn places(filters: &[Filter]) -> Range<Place> {
    let bound = |side: Side| side.place_of_all(filters);
    bound(Side::Begin).unwrap_or(Place::FIRST)..bound(Side::End).unwrap_or(Place::LAST)
}

/// Returns the keys of `id=in.(..)`, when the conditions have such a list.
pub(super) fn listed(filters: &[Filter]) -> Option<BTreeSet<Key>> {
    filters.iter().find_map(|filter| match filter {
        Filter::Column(name, Test::In(items)) if name == "id" => items.iter().map(Key::of).collect(),
        _ => None,
    })
}

/// End of a range.
#[derive(Clone, Copy)]
enum Side {
    Begin,
    End,
}

impl Side {
    /// Returns the bound of rows that satisfy all conditions, given the bounds of each.
    fn tightest<T: Ord>(self, bounds: impl Iterator<Item = Option<T>>) -> Option<T> {
        match self {
            Self::Begin => bounds.flatten().max(),
            Self::End => bounds.flatten().min(),
        }
    }

    /// Returns the bound of rows that satisfy one of the conditions.
    fn loosest<T: Ord>(self, bounds: impl Iterator<Item = Option<T>>) -> Option<T> {
        let all = bounds.collect::<Option<Vec<T>>>()?.into_iter();
        match self {
            Self::Begin => all.min(),
            Self::End => all.max(),
        }
    }

    /// Returns the side of the operand at which the range of a comparison ends, or `None` when it has
    /// no end on this side. True means after the operand.
    fn after_operand(self, holds: fn(Ordering) -> bool) -> Option<bool> {
        match self {
            Self::Begin => (!holds(Ordering::Less)).then(|| !holds(Ordering::Equal)),
            Self::End => (!holds(Ordering::Greater)).then(|| holds(Ordering::Equal)),
        }
    }

    fn cut(self, filter: &Filter) -> Option<Cut> {
        match filter {
            Filter::Column(name, Test::Compare(holds, operand)) if name == "id" => {
                let after = self.after_operand(*holds)?;
                Key::of(operand).map(|key| Cut::At { key, after })
            }
            // No row has such a key.
            Filter::Column(name, Test::Null) if name == "id" => Some(match self {
                Self::Begin => Cut::Last,
                Self::End => Cut::First,
            }),
            Filter::All(members) => self.tightest(members.iter().map(|member| self.cut(member))),
            Filter::Any(members) => self.loosest(members.iter().map(|member| self.cut(member))),
            Filter::Column(..) | Filter::Not(_) => None,
        }
    }

    fn place(self, filter: &Filter) -> Option<Place> {
        match filter {
            Filter::Column(name, Test::Compare(holds, operand)) if name == "created_at" => {
                let after = self.after_operand(*holds)?;
                let cut = if after { Cut::Last } else { Cut::First };
                Some(Place { moment: Moment::of(operand), cut })
            }
            Filter::Column(name, Test::Null) if name == "created_at" => {
                let cut = if matches!(self, Self::Begin) { Cut::First } else { Cut::Last };
                Some(Place { moment: Moment::Null, cut })
            }
            Filter::All(members) => self.place_of_all(members),
            Filter::Any(members) => self.loosest(members.iter().map(|member| self.place(member))),
            Filter::Column(..) | Filter::Not(_) => None,
        }
    }

    /// Returns the bound of rows that satisfy all conditions. A bound on the key sharpens the bound on
    /// the time: rows of just that time are in the order of their keys.
    fn place_of_all(self, filters: &[Filter]) -> Option<Place> {
        let place = self.tightest(filters.iter().map(|filter| self.place(filter)))?;
        let cut = self.tightest(filters.iter().map(|filter| self.cut(filter)));
        let sharper = cut.map(|cut| Place { moment: place.moment, cut });
        self.tightest([Some(place), sharper].into_iter())
    }
}
