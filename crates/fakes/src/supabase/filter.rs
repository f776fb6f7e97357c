//! Conditions on rows: a test of one column, or several tests combined by `and`, `or`, and `not`.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use super::place::Moment;
use super::primary_key::IdType;
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
    pub(super) fn matches(&self, row: &Record) -> bool {
        self.holds(row) == Some(true)
    }

    /// Evaluates the condition in SQL's three-valued logic: a comparison with null is neither true
    /// nor false.
    fn holds(&self, row: &Record) -> Option<bool> {
        match self {
            Self::Column(name, test) => test.holds(name, &row[name]),
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
    fn holds(&self, column: &str, value: &Value) -> Option<bool> {
        match self {
            Self::Compare(holds, operand) => compare(column, value, operand).map(holds),
            Self::In(_) if value.is_null() => None,
            Self::In(items) => {
                Some(items.iter().any(|item| compare(column, value, item).is_some_and(Ordering::is_eq)))
            }
            Self::Null => Some(value.is_null()),
        }
    }
}

pub(super) fn column(name: &str) -> Result<String, QueryError> {
    let name = name.trim().trim_matches('"');
    if has_column(name) { Ok(name.to_owned()) } else { Err(QueryError::Column(name.to_owned())) }
}

/// Compares two values of one column. Returns `None` when one of them is null. Texts are compared
/// by their bytes, as with the collation "C".
pub(super) fn compare(column: &str, left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Some(left.as_i64()?.cmp(&right.as_i64()?)),
        (Value::String(left), Value::String(right)) if column != "created_at" => Some(left.cmp(right)),
        _ => Some(Moment::of(left).time()?.cmp(&Moment::of(right).time()?)),
    }
}

/// Reads a literal of a column's type.
pub(super) fn literal(id_type: IdType, column: &str, text: &str) -> Result<Value, QueryError> {
    let wrong = |kind: &'static str| QueryError::Literal { kind, text: text.to_owned() };
    match column {
        "id" => id_type.read(text).map(|key| key.value()).ok_or_else(|| wrong(id_type.name())),
        "created_at" => {
            text.parse::<Timestamp>().map(|_| text.into()).map_err(|_| wrong("timestamp with time zone"))
        }
        _ => Ok(text.into()),
    }
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
        Filter::parse(IdType::BigInt, name, text).expect("a filter").matches(&row())
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
            if let Ok(filter) = Filter::parse(IdType::BigInt, &name, &text) {
                let _ = filter.matches(&row());
            }
        }
    }
}
