//! Subscriptions to changes of rows: the entries of `postgres_changes` in a join.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::Shared;
use super::super::postgres::column::{COLUMNS, has_column};
use super::super::query::{Condition, Filter};
use super::super::table::{ChangeKind, Record};

/// Operators that a filter may have.
const OPERATORS: [&str; 13] =
    ["eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct"];

/// Number of values that a filter's list may have.
const MOST_VALUES: usize = 100;

/// One entry of a join.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) id: u32,
    /// The entry exactly as the client sent it, plus `id`.
    pub(super) echo: Value,
    event: String,
    /// Conditions that a row must satisfy to be sent, with their columns.
    filters: Vec<(String, Filter)>,
    /// Columns that are sent besides the primary key; all of them when absent.
    pub(super) select: Option<Vec<String>>,
}

/// A filter taken apart: column, operator, value, and true when it is negated.
type Part = (String, String, String, bool);

impl Binding {
    /// Returns an entry as it is answered. An entry's id is a hash of the entry, so the same entry always
    /// has the same id.
    pub(super) fn of(entry: &Value) -> Self {
        let hash = Sha256::digest(entry.to_string());
        let id = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) & ((1 << 27) - 1);
        let mut echo = entry.clone();
        if let Value::Object(keys) = &mut echo {
            keys.insert("id".to_owned(), id.into());
        }
        Self { id, echo, event: "*".to_owned(), filters: Vec::new(), select: None }
    }

    /// Subscribes to the changes that the entry asks for. The error is the server's message.
    pub(super) fn subscribe(&mut self, shared: &Shared) -> Result<(), String> {
        let text = |key: &str| self.echo.get(key).and_then(Value::as_str);
        let given = |key: &str| self.echo.get(key).is_some();
        let event = text("event").map(str::to_uppercase);
        let event = event.filter(|event| ["INSERT", "UPDATE", "DELETE"].contains(&event.as_str()));
        self.event = event.unwrap_or_else(|| "*".to_owned());
        self.select = match self.echo.get("select") {
            Some(Value::String(_)) => {
                return Err(
                    "Error parsing `select` params: expected a list of column name strings, e.g. select: \
                            [\"col1\", \"col2\"]"
                        .to_owned(),
                );
            }
            Some(Value::Array(names)) => {
                let names: Vec<_> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                Some(names).filter(|names| !names.is_empty())
            }
            _ => None,
        };
        let (schema, table, filter) = match (text("schema"), text("table"), text("filter")) {
            (Some(schema), Some(table), Some(filter)) => (schema, table, filter),
            (Some(schema), Some(table), None) if !given("filter") => (schema, table, ""),
            (Some(schema), None, None) if !given("filter") && !given("table") => (schema, "*", ""),
            (None, Some(table), None) if !given("filter") && !given("schema") => ("public", table, ""),
            _ => {
                let entry = without_id(&self.echo);
                return Err(format!(
                    "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: \
                     {entry}"
                ));
            }
        };
        let parts = parts(filter).map_err(|reason| format!("Error parsing `filter` params: {reason}"))?;
        if self.select.is_some() && (schema == "*" || table == "*") {
            return Err(
                "Column selection is not supported for wildcard subscriptions. Provide an explicit schema \
                        and table name."
                    .to_owned(),
            );
        }
        let asked = format!(
            "[event: {}, schema: {schema}, table: {table}, filters: {}, select: {}]",
            self.event,
            written(&parts),
            self.select.as_ref().map_or_else(|| "nil".to_owned(), |names| format!("{names:?}")),
        );
        let own = |wanted: &str, own: &str| wanted == "*" || wanted == own;
        let known = own(schema, &shared.options.schema) && own(table, &shared.options.table);
        if !known || shared.faults.unpublished() {
            return Err(format!(
                "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given \
                 connect parameters: {asked}"
            ));
        }
        let raised = |reason: String| {
            format!(
                "Unable to subscribe to changes with given parameters. An exception happened so please check your \
                 connect parameters: {asked}. Exception: {reason}"
            )
        };
        self.filters = parts
            .into_iter()
            .map(|part| filter_of(shared, part))
            .collect::<Result<_, _>>()
            .map_err(raised)?;
        match self.select.iter().flatten().find(|name| !has_column(name)) {
            Some(name) => {
                Err(raised(format!("ERROR P0001 (raise_exception) invalid column for select {name}")))
            }
            None => Ok(()),
        }
    }

    /// Returns true when a change of this kind is sent. `known` has the columns by which it is judged.
    pub(super) fn wants(&self, kind: ChangeKind, known: &Record) -> bool {
        (self.event == "*" || self.event == kind.name())
            && self.filters.iter().all(|(column, filter)| known.contains_key(column) && filter.matches(known))
    }

    /// Returns true when a column is sent.
    pub(super) fn sends(select: Option<&[String]>, column: &str) -> bool {
        column == "id" || select.is_none_or(|names| names.iter().any(|name| name == column))
    }
}

/// Returns an entry without the id that the server has added.
fn without_id(echo: &Value) -> Value {
    let mut entry = echo.clone();
    if let Value::Object(keys) = &mut entry {
        keys.remove("id");
    }
    entry
}

/// Reads a condition as the database does that stores the subscription.
fn filter_of(shared: &Shared, (column, operator, value, negated): Part) -> Result<(String, Filter), String> {
    let columns = shared.columns();
    let raised = |text: String| format!("ERROR P0001 (raise_exception) {text}");
    let kind = columns
        .kind(&column)
        .filter(|_| COLUMNS.contains(&column.as_str()))
        .ok_or_else(|| raised(format!("invalid column for filter {column}")))?;
    if ["like", "ilike", "match", "imatch"].contains(&operator.as_str()) && kind.name() != "text" {
        let text = format!("operator {operator} requires a text-compatible column type, got {}", kind.name());
        return Err(raised(text));
    }
    if operator == "is" && ["true", "false", "unknown"].contains(&value.as_str()) {
        return Err(raised(format!("is {value} filter requires a boolean column, got {}", kind.name())));
    }
    if operator == "in" && value.split(',').count() > MOST_VALUES {
        return Err(raised("too many values for `in` filter. Maximum 100".to_owned()));
    }
    let condition = Condition::of_parts(&column, negated, &operator, &value).ok_or_else(|| {
        raised("invalid value for is filter: must be null, true, false, or unknown".to_owned())
    })?;
    let filter = Filter::read(&condition, &columns).map_err(|error| match error.code {
        "2201B" => raised(format!("invalid regular expression for {operator} filter: {}", error.message)),
        code => format!("ERROR {code} ({}) {}", condition_name(code), error.message),
    })?;
    Ok((column, filter))
}

/// Returns PostgreSQL's name of an error that a literal can have.
fn condition_name(code: &str) -> &'static str {
    match code {
        "22003" => "numeric_value_out_of_range",
        "22007" => "invalid_datetime_format",
        "22008" => "datetime_field_overflow",
        "22009" => "invalid_time_zone_displacement_value",
        _ => "invalid_text_representation",
    }
}

/// Writes filters as the server's messages have them.
fn written(parts: &[Part]) -> String {
    let part = |(column, operator, value, negated): &Part| {
        format!("{{{column:?}, {operator:?}, {value:?}, {negated}}}")
    };
    format!("[{}]", parts.iter().map(part).collect::<Vec<_>>().join(", "))
}

/// Takes a text of the form `column=op.value,column=op.value` apart.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    match text.trim() {
        "" => Ok(Vec::new()),
        trimmed => segments(trimmed).into_iter().map(part).collect(),
    }
}

/// Splits a text at its commas, but not at those within parentheses or quoted values.
fn segments(text: &str) -> Vec<&str> {
    let (mut segments, mut begin, mut depth, mut quoted, mut escaped) =
        (Vec::new(), 0, 0_usize, false, false);
    let mut previous = '\0';
    for (place, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quoted => quoted = false,
            _ if quoted => {}
            '"' if ".(,".contains(previous) => quoted = true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                segments.push(&text[begin..place]);
                begin = place + 1;
            }
            _ => {}
        }
        previous = character;
    }
    segments.push(&text[begin..]);
    segments
}

fn part(segment: &str) -> Result<Part, String> {
    let segment = segment.trim();
    if segment.is_empty() {
        return Err("filter must not contain empty segments (check for extra commas)".to_owned());
    }
    let Some((column, rest)) = segment.split_once('=') else { return Err(format!("[{segment:?}]")) };
    let (negated, rest) = match rest.strip_prefix("not.") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let Some((operator, value)) = rest.split_once('.') else { return Err(format!("[{rest:?}]")) };
    if !OPERATORS.contains(&operator) {
        return Err(format!("[{operator:?}, {value:?}]"));
    }
    let value = match operator {
        "in" => {
            let inner = value.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
            format!("{{{}}}", inner.ok_or("`in` filter value must be wrapped by parentheses")?)
        }
        _ => unquoted(value).unwrap_or_else(|| value.to_owned()),
    };
    Ok((column.to_owned(), operator.to_owned(), value, negated))
}

/// Reads a value that is quoted as a whole.
fn unquoted(value: &str) -> Option<String> {
    let mut characters = value.strip_prefix('"')?.chars();
    let mut text = String::new();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(text),
            '\\' => text.push(characters.next()?),
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<(String, String, String, bool)>, String> {
        parts(text)
    }

    fn one(column: &str, operator: &str, value: &str, negated: bool) -> Part {
        (column.to_owned(), operator.to_owned(), value.to_owned(), negated)
    }

    /// These are the examples of the server's own documentation.
    #[test]
    fn filters_are_taken_apart_as_the_server_does_it() {
        assert_eq!(read("subject=in.(hidee,ho)"), Ok(vec![one("subject", "in", "{hidee,ho}", false)]));
        assert_eq!(read("subject=not.like.hey%"), Ok(vec![one("subject", "like", "hey%", true)]));
        assert_eq!(
            read("id=gt.0, id=lt.100"),
            Ok(vec![one("id", "gt", "0", false), one("id", "lt", "100", false)])
        );
        assert_eq!(read("  "), Ok(Vec::new()));
        assert_eq!(
            read("a=eq.\"b,\\\"c\",d=eq.e"),
            Ok(vec![one("a", "eq", "b,\"c", false), one("d", "eq", "e", false)])
        );
        assert_eq!(read("subject=foo.hey"), Err("[\"foo\", \"hey\"]".to_owned()));
        assert_eq!(read("undefined"), Err("[\"undefined\"]".to_owned()));
        assert!(read("a=in.b").is_err_and(|reason| reason.contains("parentheses")));
        assert!(read("a=eq.b,,").is_err_and(|reason| reason.contains("empty segments")));
    }

    proptest! {
        #[test]
        fn any_filter_is_read_without_panic(text in ".{0,60}") {
            let _ = read(&text);
        }
    }
}
