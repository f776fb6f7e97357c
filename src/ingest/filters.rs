//! Conditions in PostgREST's syntax.

use url::form_urlencoded;

use crate::row_identity::RowId;

/// Largest number of ids in one `id=in.(..)`.
const IDS_PER_REQUEST: usize = 100;
/// Largest length of these ids within the address, in bytes. Gateways take addresses of 8 KB.
const MAX_IDS_BYTES: usize = 6_000;

/// Builds the filter for the rows after a given one in the order of two columns, as a list for
/// PostgREST's `or`. Null is the last value of the second column, as PostgreSQL sorts it.
pub(super) fn beyond((first, value): (&str, &str), (second, beside): (&str, Option<String>)) -> String {
    let value = quoted(value);
    match beside.as_deref().map(quoted) {
        None => format!("({first}.gt.{value})"),
        Some(beside) => {
            format!("({first}.gt.{value},and({first}.eq.{value},or({second}.gt.{beside},{second}.is.null)))")
        }
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
    let after = last.map(|last| ("or", beyond((column, value), (id, Some(last.to_owned())))));
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
