//! Order of rows by their inserts.

use crate::row_list::RowList;

/// Puts rows, given by their places in the list, in the order of their inserts, each with its place in that
/// order. The latter places differ, so that a window of the newest rows never ends within one moment: rows of
/// one transaction have one time.
pub(super) fn in_insert_order(rows: &RowList, places: &[usize]) -> Vec<(i64, usize)> {
    let mut order: Vec<_> = places.iter().map(|at| (rows.row(*at).insert_order(), *at)).collect();
    order.sort_by_key(|(place, at)| (*place, rows.id(*at)));
    let mut free = i64::MIN;
    for (place, _) in &mut order {
        *place = (*place).max(free);
        free = place.saturating_add(1);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correction::Row;

    fn row(id: i64, text_id: Option<&str>, created_at: &str) -> Row {
        let created_at = Some(created_at.to_owned());
        Row { id, text_id: text_id.map(Into::into), created_at, ..Row::default() }
    }

    /// Returns the places of rows, in the order of their ids.
    fn places(rows: impl Into<Vec<Row>>) -> Vec<i64> {
        let rows = RowList::from(rows.into());
        let places: Vec<usize> = (0..rows.len()).collect();
        let mut order = in_insert_order(&rows, &places);
        order.sort_by_key(|(_, at)| rows.id(*at));
        order.into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn whole_numbers_are_their_own_places() {
        let rows = [3, 7, 9].map(|id| row(id, None, "2026-01-01T00:00:00Z"));
        assert_eq!(places(rows), [3, 7, 9]);
    }

    #[test]
    fn texts_are_ordered_by_time_and_rows_of_one_moment_have_places_of_their_own() {
        let at = |id, time: &str| row(id, Some("x"), time);
        let rows = [
            at(1, "1970-01-01T00:00:01Z"),
            at(2, "1970-01-01T00:00:02Z"),
            at(3, "1970-01-01T00:00:01Z"),
            at(4, "when?"),
        ];
        assert_eq!(places(rows), [1_000_000, 2_000_000, 1_000_001, 0]);
    }
}
