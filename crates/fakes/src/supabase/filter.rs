//! Conditions on rows: a test of one column, or several tests combined by `and`, `or`, and `not`.
//! The syntax is that of PostgREST's query strings and Realtime's subscriptions.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use super::table::{Record, has_column};

/// Reason why a query is rejected, as PostgREST reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum QueryError {
    /// `PGRST100`: the string can't be parsed.
    Parse(String),
    /// `42703`: the column does not exist.
    Column(String),
    /// `22P02` or `22007`: the value is not of the column's type.
    Literal {
        /// PostgreSQL's name of the column's type.
        kind: &'static str,
        /// The value as given in the query.
        text: String,
    },
}

/// A condition on a row.
#[derive(Debug, Clone)]
pub(super) enum Filter {
    Column(String, Test),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
}

/// A test of one column's value.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Compare(fn(Ordering) -> bool, Value),
    In(Vec<Value>),
    Null,
}

impl Filter {
    /// Parses `<name>=<text>` of a query string. The name may also be `and`, `or`, `not.and`, or
    /// `not.or`.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, QueryError> {
        let members = || -> Result<Vec<Self>, QueryError> {
            list(text).ok_or_else(|| malformed(text))?.into_iter().map(Self::member).collect()
        };
        match name {
            "and" => Ok(Self::All(members()?)),
            "or" => Ok(Self::Any(members()?)),
            "not.and" => Ok(Self::Not(Box::new(Self::All(members()?)))),
            "not.or" => Ok(Self::Not(Box::new(Self::Any(members()?)))),
            name => Self::column(name, text, str::to_owned),
        }
    }

    /// Parses a member of a list: `or(..)`, or `<column>.<operator>.<operand>`.
    fn member(text: &str) -> Result<Self, QueryError> {
        if let Some((name, _)) = text.split_once('(')
            && matches!(name, "and" | "or" | "not.and" | "not.or")
        {
            return Self::parse(name, &text[name.len()..]);
        }
        let (name, text) = text.split_once('.').ok_or_else(|| malformed(text))?;
        Self::column(name, text, unquoted)
    }

    /// Parses `<operator>.<operand>` of one column. Quotes are part of the operand, except within a
    /// list.
    fn column(name: &str, text: &str, operand: fn(&str) -> String) -> Result<Self, QueryError> {
        let name = column(name)?;
        if let Some(text) = text.strip_prefix("not.") {
            return Ok(Self::Not(Box::new(Self::column(&name, text, operand)?)));
        }
        let (operator, given) = text.split_once('.').ok_or_else(|| malformed(text))?;
        let compare = |holds| Ok::<_, QueryError>(Test::Compare(holds, literal(&name, &operand(given))?));
        let test = match operator {
            "eq" => compare(Ordering::is_eq)?,
            "neq" => compare(Ordering::is_ne)?,
            "gt" => compare(Ordering::is_gt)?,
            "gte" => compare(Ordering::is_ge)?,
            "lt" => compare(Ordering::is_lt)?,
            "lte" => compare(Ordering::is_le)?,
            "is" if given == "null" => Test::Null,
            "in" => {
                let items = list(given).ok_or_else(|| malformed(text))?.into_iter();
                let items = items.filter(|item| !item.is_empty());
                Test::In(items.map(|item| literal(&name, &unquoted(item))).collect::<Result<_, _>>()?)
            }
            _ => return Err(malformed(text)),
        };
        Ok(Self::Column(name, test))
    }

    pub(super) fn matches(&self, row: &Record) -> bool {
        self.holds(row) == Some(true)
    }

    /// Evaluates the condition in SQL's three-valued logic: a comparison with null is neither true
    /// nor false.
    fn holds(&self, row: &Record) -> Option<bool> {
        match self {
            Self::Column(name, test) => test.holds(&row[name]),
            Self::All(members) => combine(members, row, false),
            Self::Any(members) => combine(members, row, true),
            Self::Not(member) => member.holds(row).map(|holds| !holds),
        }
    }
}

/// Evaluates `and` (`decisive` is false) or `or` (`decisive` is true).
fn combine(members: &[Filter], row: &Record, decisive: bool) -> Option<bool> {
    let mut known = Some(!decisive);
    for member in members {
        match member.holds(row) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => known = None,
        }
    }
    known
}

impl Test {
    fn holds(&self, value: &Value) -> Option<bool> {
        match self {
            Self::Compare(holds, operand) => compare(value, operand).map(holds),
            Self::In(_) if value.is_null() => None,
            Self::In(items) => {
                Some(items.iter().any(|item| compare(value, item).is_some_and(Ordering::is_eq)))
            }
            Self::Null => Some(value.is_null()),
        }
    }
}

pub(super) fn column(name: &str) -> Result<String, QueryError> {
    let name = name.trim().trim_matches('"');
    if has_column(name) { Ok(name.to_owned()) } else { Err(QueryError::Column(name.to_owned())) }
}

/// Compares two values of one column: as numbers, else as times, else as texts. Returns `None` when
/// one of them is null.
pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        return Some(left.cmp(&right));
    }
    let (left, right) = (left.as_str()?, right.as_str()?);
    match (left.parse::<Timestamp>(), right.parse::<Timestamp>()) {
        (Ok(left), Ok(right)) => Some(left.cmp(&right)),
        _ => Some(left.cmp(right)),
    }
}

fn malformed(text: &str) -> QueryError {
    QueryError::Parse(format!("failed to parse filter ({text})"))
}

fn literal(column: &str, text: &str) -> Result<Value, QueryError> {
    let wrong = |kind: &'static str| QueryError::Literal { kind, text: text.to_owned() };
    match column {
        "id" => Ok(text.parse::<i64>().map_err(|_| wrong("bigint"))?.into()),
        "created_at" => {
            text.parse::<Timestamp>().map(|_| text.into()).map_err(|_| wrong("timestamp with time zone"))
        }
        _ => Ok(text.into()),
    }
}

/// Splits `(a,b,..)` into its members. Commas within quotes or inner parentheses do not separate
/// members.
pub(super) fn list(text: &str) -> Option<Vec<&str>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let (mut members, mut begin, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0_usize, false, false);
    for (place, character) in inner.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                members.push(&inner[begin..place]);
                begin = place + 1;
            }
            _ => {}
        }
    }
    members.push(&inner[begin..]);
    (!quoted && depth == 0).then_some(members)
}

/// Removes the double quotes around a member. Within the quotes, a backslash escapes the next
/// character.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn row() -> Record {
        match json!({"id": 7, "typo": "a\",(b", "corrected": null, "domain": "brand", "created_at": null}) {
            Value::Object(row) => row,
            _ => Record::new(),
        }
    }

    fn matches(name: &str, text: &str) -> bool {
        Filter::parse(name, text).expect("a filter").matches(&row())
    }

    #[test]
    fn logic_nests_and_quotes_keep_what_would_part() {
        assert!(matches("or", "(id.eq.1,and(id.gt.6,domain.eq.brand))"));
        assert!(!matches("and", "(id.eq.7,domain.neq.brand)"));
        assert!(matches("or", r#"(typo.eq."a\",(b",id.eq.1)"#));
        assert!(matches("typo", r#"in.(x,"a\",(b")"#));
        assert!(matches("not.or", "(id.eq.1,id.eq.2)"));
        assert!(matches("id", "not.eq.8"));
    }

    #[test]
    fn null_is_neither_equal_nor_unequal() {
        assert!(!matches("corrected", "eq.x") && !matches("corrected", "not.eq.x"));
        assert!(!matches("corrected", "not.in.(x)"));
        assert!(matches("corrected", "is.null") && matches("domain", "not.is.null"));
        assert!(matches("or", "(corrected.eq.x,id.eq.7)"));
        assert!(!matches("and", "(corrected.eq.x,id.eq.7)"));
    }

    proptest! {
        #[test]
        fn any_filter_is_read_without_panic(name in "(and|or|id|typo)", text in "\\(?.{0,60}\\)?") {
            if let Ok(filter) = Filter::parse(&name, &text) {
                let _ = filter.matches(&row());
            }
        }
    }
}
