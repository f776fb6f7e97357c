//! Conditions in PostgREST's syntax.

use url::form_urlencoded;

use crate::row_identity::RowId;

/// Largest number of ids in one `id=in.(..)`.
const IDS_PER_REQUEST: usize = 100;
/// Largest length of these ids within the address, in bytes. Gateways take addresses of 8 KB.
const MAX_IDS_BYTES: usize = 6_000;

/// Builds the filter for the rows after a given one in the order of a column, which is never null, and of
/// further columns, as a list for PostgREST's `or`. Null is the last value of a column, as PostgreSQL sorts
/// it.
pub(super) fn beyond((first, value): (&str, &str), further: &[(&str, Option<&str>)]) -> String {
    let value = quoted(value);
    match alternatives(further) {
        None => format!("({first}.gt.{value})"),
        Some(alternatives) => format!("({first}.gt.{value},and({first}.eq.{value},or({alternatives})))"),
    }
}

/// Returns the alternatives for a row that comes later by these columns; `None` when no row can.
fn alternatives(columns: &[(&str, Option<&str>)]) -> Option<String> {
    let ((column, value), further) = columns.split_first()?;
    let (equal, later) = match value.map(quoted) {
        Some(value) => (format!("eq.{value}"), Some(format!("{column}.gt.{value},{column}.is.null"))),
        None => ("is.null".to_owned(), None),
    };
    let by_further = alternatives(further).map(|further| format!("and({column}.{equal},or({further}))"));
    match (later, by_further) {
        (Some(later), Some(by_further)) => Some(format!("{later},{by_further}")),
        (later, by_further) => later.or(by_further),
    }
}

/// Builds the filters for the rows after a place in the order of a column and then the id; without an id,
/// after every row with less in the column.
pub(super) fn after_place<'q>(
    (column, value): (&'q str, &str),
    (id, last): (&'q str, Option<&str>),
) -> Vec<(&'q str, String)> {
    // This one lets PostgreSQL begin within an index; it can't with the other one alone.
    let from = (column, format!("gte.{value}"));
    let after = last.map(|last| ("or", beyond((column, value), &[(id, Some(last))])));
    [from].into_iter().chain(after).collect()
}

/// Builds the condition that an id is one of these.
pub(super) fn in_list(ids: &[RowId]) -> String {
    format!("in.({})", ids.iter().map(as_value).collect::<Vec<_>>().join(","))
}

/// Returns an id as a value within a list.
fn as_value(id: &RowId) -> String {
    id.text().map_or_else(|| id.to_string(), quoted)
}

/// Returns the number of leading ids that fit into one request, at least one.
pub(super) fn fitting(ids: &[RowId]) -> usize {
    let mut bytes = 0;
    let fits = |id: &&RowId| {
        bytes += 1 + form_urlencoded::byte_serialize(as_value(id).as_bytes()).map(str::len).sum::<usize>();
        bytes <= MAX_IDS_BYTES
    };
    ids.iter().take(IDS_PER_REQUEST).take_while(fits).count().max(1)
}

/// Quotes a text as a value within a list, so that commas and parentheses separate nothing.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_row_is_later_by_the_first_column_that_differs() {
        assert_eq!(beyond(("a", "1"), &[]), r#"(a.gt."1")"#);
        assert_eq!(
            beyond(("a", "1"), &[("b", Some("2"))]),
            r#"(a.gt."1",and(a.eq."1",or(b.gt."2",b.is.null)))"#
        );
        assert_eq!(beyond(("a", "1"), &[("b", None)]), r#"(a.gt."1")"#, "null is last");
        assert_eq!(
            beyond(("a", "1"), &[("b", None), ("c", Some("3"))]),
            r#"(a.gt."1",and(a.eq."1",or(and(b.is.null,or(c.gt."3",c.is.null)))))"#
        );
        assert_eq!(
            beyond(("a", "1"), &[("b", Some("2")), ("c", None)]),
            r#"(a.gt."1",and(a.eq."1",or(b.gt."2",b.is.null)))"#
        );
    }
}
