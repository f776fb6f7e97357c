//! Identity of a row: its number, and the version of its text.
//!
//! A table's ids may start anew: after `TRUNCATE … RESTART IDENTITY`, or after a backup was restored.
//! The row that then has id 7 is another row than the one that had it before. A row's *number*
//! tells them apart. It is the id itself until the ids start anew. From then on, each new row belongs
//! to the next *series*, and its number is the id plus an offset that is above every id. Numbers
//! therefore ascend in the order in which rows arrive, as ids do.
//!
//! A row whose text changes keeps its number, and its text has a new *version*.

/// Number of ids that a series has room for.
const SERIES_IDS: i64 = 1 << 40;
/// First number of the series after the first.
const FIRST_OFFSET: i64 = i64::MAX - (1 << 52) + 1;
/// Highest id that a row may have. The numbers above belong to later series.
pub const MAX_ID: i64 = FIRST_OFFSET - 1;
/// Last series.
const MAX_SERIES: u32 = 1 << 12;

/// Returns the number of a row: its id within a series, where 0 is the first series. Returns `None`
/// when the series has no room for the id.
pub fn number_in(id: i64, series: u32) -> Option<i64> {
    match series {
        0 => (id <= MAX_ID).then_some(id),
        1..=MAX_SERIES if (0..SERIES_IDS).contains(&id) => {
            Some(FIRST_OFFSET + i64::from(series - 1) * SERIES_IDS + id)
        }
        _ => None,
    }
}

/// Returns the first and the last number of the ids `first..=last` within a series, or `None` when the
/// series has room for none of them.
pub fn numbers_between(first: i64, last: i64, series: u32) -> Option<(i64, i64)> {
    let (lowest, highest) = if series == 0 { (i64::MIN, MAX_ID) } else { (0, SERIES_IDS - 1) };
    let (first, last) = (first.max(lowest), last.min(highest));
    if first > last { None } else { Some((number_in(first, series)?, number_in(last, series)?)) }
}

/// Returns the id that a row has in the table.
pub fn id_of(number: i64) -> i64 {
    if number > MAX_ID { (number - FIRST_OFFSET) % SERIES_IDS } else { number }
}

/// Returns the series of a number; 0 is the first.
pub fn series_of(number: i64) -> u32 {
    match number > MAX_ID {
        true => u32::try_from((number - FIRST_OFFSET) / SERIES_IDS + 1).unwrap_or(MAX_SERIES),
        false => 0,
    }
}

/// A row that is kept, and the version of its text: the state that a change or a removal applies
/// to. When the row has another version meanwhile, the change does not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptRow {
    /// Id in the table.
    pub id: i64,
    /// Number of the row.
    pub number: i64,
    /// Version of the row's text, from 1.
    pub version: u16,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_ascend_from_series_to_series() {
        assert_eq!(number_in(7, 0), Some(7));
        assert_eq!(number_in(-7, 0), Some(-7));
        let (second, third) = (number_in(7, 1).unwrap(), number_in(0, 2).unwrap());
        assert!(MAX_ID < second && second < third);
        assert_eq!((id_of(second), series_of(second)), (7, 1));
        assert_eq!(number_in(SERIES_IDS - 1, MAX_SERIES), Some(i64::MAX));
        for (id, series) in [(MAX_ID + 1, 0), (-1, 1), (SERIES_IDS, 1), (1, MAX_SERIES + 1)] {
            assert_eq!(number_in(id, series), None, "{id} in {series}");
        }
    }

    proptest! {
        #[test]
        fn a_number_gives_its_id_and_series_back(id in any::<i64>(), series in 0_u32..5000) {
            if let Some(number) = number_in(id, series) {
                prop_assert_eq!((id_of(number), series_of(number)), (id, series));
            }
        }

        #[test]
        fn every_number_is_the_number_of_its_id(number in any::<i64>()) {
            prop_assert_eq!(number_in(id_of(number), series_of(number)), Some(number));
        }
    }
}
