//! Order of rows by their inserts.

use crate::correction::Row;

/// Returns each row's place in the order of inserts, in the order of the rows. Places differ, so that a
/// window of the newest rows never ends within one moment: rows of one transaction have one time.
pub(super) fn insert_order(rows: &[Row]) -> Vec<i64> {
    let mut order: Vec<(i64, i64, usize)> =
        rows.iter().enumerate().map(|(index, row)| (row.insert_order(), row.id, index)).collect();
    order.sort_unstable();
    let mut places = vec![0; rows.len()];
    let mut free = i64::MIN;
    for (wanted, _, index) in order {
        let place = wanted.max(free);
        if let Some(entry) = places.get_mut(index) {
            *entry = place;
        }
        free = place.saturating_add(1);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, text_id: Option<&str>, created_at: &str) -> Row {
        let created_at = Some(created_at.to_owned());
        Row { id, text_id: text_id.map(Into::into), created_at, ..Row::default() }
    }

    #[test]
    fn whole_numbers_are_their_own_places() {
        let rows = [3, 7, 9].map(|id| row(id, None, "2026-01-01T00:00:00Z"));
        assert_eq!(insert_order(&rows), [3, 7, 9]);
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
        assert_eq!(insert_order(&rows), [1_000_000, 2_000_000, 1_000_001, 0]);
    }
}
