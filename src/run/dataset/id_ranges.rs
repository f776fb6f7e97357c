//! A set of row ids in a short text form: `1..80,82` instead of eighty-one numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Row ids as inclusive ranges, which ascend and never touch. The text form lists `first..last` or
/// a single id, separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdRanges(Vec<(i64, i64)>);

/// Error for a text that is not a set of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected ascending ids and ranges, such as 1..80,82")]
pub struct NotIdRanges;

impl IdRanges {
    /// Returns true when the id is in the set.
    pub fn contains(&self, id: i64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= id);
        after.checked_sub(1).and_then(|place| self.0.get(place)).is_some_and(|(_, last)| id <= *last)
    }

    /// Returns the highest id.
    pub fn last(&self) -> Option<i64> {
        self.0.last().map(|(_, last)| *last)
    }

    /// Returns the number of ids.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last.abs_diff(*first).saturating_add(1)).sum()
    }

    /// Returns the lowest ranges, as many as have at most `limit` bytes in the text form.
    pub fn head(&self, limit: usize) -> Self {
        let mut bytes = 0;
        let fitting = self.0.iter().take_while(|(first, last)| {
            bytes += Self(vec![(*first, *last)]).to_string().len() + 1;
            bytes <= limit + 1
        });
        Self(fitting.copied().collect())
    }

    /// Checks that parsed ranges ascend.
    fn checked(ranges: Vec<(i64, i64)>) -> Result<Self, NotIdRanges> {
        let ascends = ranges.iter().all(|(first, last)| first <= last)
            && ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
        if ascends { Ok(Self(ranges)) } else { Err(NotIdRanges) }
    }
}

/// Collects ids in any order.
impl FromIterator<i64> for IdRanges {
    fn from_iter<I: IntoIterator<Item = i64>>(ids: I) -> Self {
        let mut ids: Vec<i64> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for id in ids {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
                _ => ranges.push((id, id)),
            }
        }
        Self(ranges)
    }
}

impl fmt::Display for IdRanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            match first == last {
                true => write!(formatter, "{comma}{first}")?,
                false => write!(formatter, "{comma}{first}..{last}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for IdRanges {
    type Err = NotIdRanges;

    fn from_str(text: &str) -> Result<Self, NotIdRanges> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let id = |text: &str| text.parse::<i64>().map_err(|_| NotIdRanges);
        let range = |part: &str| match part.split_once("..") {
            Some((first, last)) => Ok((id(first)?, id(last)?)),
            None => id(part).map(|id| (id, id)),
        };
        Self::checked(text.split(',').map(range).collect::<Result<_, _>>()?)
    }
}

impl Serialize for IdRanges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IdRanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// The text form, or the pairs of numbers that earlier versions wrote.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Pairs(Vec<(i64, i64)>),
        }
        let read = match Written::deserialize(deserializer)? {
            Written::Text(text) => text.parse(),
            Written::Pairs(pairs) => Self::checked(pairs),
        };
        read.map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_short_and_their_earlier_form_is_read() {
        let ranges: IdRanges = [5, 1, 2, 3, 2, -1].into_iter().collect();
        assert_eq!(ranges.to_string(), "-1,1..3,5");
        assert_eq!(serde_json::from_str::<IdRanges>("[[-1,-1],[1,3],[5,5]]").unwrap(), ranges);
        for wrong in ["1..", "3..1", "1,1", "2,1", "a", ",", "1..3,3"] {
            assert_eq!(wrong.parse::<IdRanges>(), Err(NotIdRanges), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn ranges_hold_exactly_the_ids(ids in prop::collection::btree_set(-30_i64..30, 0..40)) {
            let ranges: IdRanges = ids.iter().copied().collect();
            let held: BTreeSet<i64> = (-31..=31).filter(|id| ranges.contains(*id)).collect();
            prop_assert_eq!(&held, &ids);
            prop_assert_eq!(ranges.count(), ids.len() as u64);
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            prop_assert_eq!(ranges.to_string().parse(), Ok(ranges));
        }

        #[test]
        fn the_head_is_the_start_of_the_text(ids in prop::collection::btree_set(any::<i64>(), 0..40), limit in 0_usize..400) {
            let ranges: IdRanges = ids.into_iter().collect();
            let (head, all) = (ranges.head(limit).to_string(), ranges.to_string());
            prop_assert!(head.len() <= limit && all.starts_with(&head));
            prop_assert_eq!(head == all, all.len() <= limit);
        }

        #[test]
        fn no_text_makes_reading_panic(text in "[-0-9.,a]{0,30}") {
            let _ = text.parse::<IdRanges>();
        }
    }
}
