//! Conditions on rows: a test of one column, or several tests combined by `and`, `or`, and `not`.

use std::cmp::Ordering;

use serde_json::Value;

use super::super::postgres::array::elements;
use super::super::postgres::column::{ColumnType, Columns};
use super::super::postgres::pattern::Pattern;
use super::super::postgres::sql_error::SqlError;
use super::super::table::{Moment, Record};
use super::condition::{Comparison, Condition, Operation, Quantifier, Truth};

/// A condition on a row.
#[derive(Debug, Clone)]
pub(in crate::supabase) enum Filter {
    Column(String, Test),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
}

/// A test of one column's value.
#[derive(Debug, Clone)]
pub(in crate::supabase) enum Test {
    Compare(fn(Ordering) -> bool, Value),
    In(Vec<Value>),
    Null,
    /// Unequal, where null is equal to null.
    Distinct(Value),
    Matches(Pattern),
}

impl Comparison {
    /// Returns the test of the operator, or `None` for a pattern.
    fn holds(self) -> Option<fn(Ordering) -> bool> {
        Some(match self {
            Self::Equal => Ordering::is_eq,
            Self::NotEqual => Ordering::is_ne,
            Self::Greater => Ordering::is_gt,
            Self::GreaterOrEqual => Ordering::is_ge,
            Self::Less => Ordering::is_lt,
            Self::LessOrEqual => Ordering::is_le,
            Self::Like | Self::LikeInAnyCase | Self::Match | Self::MatchInAnyCase => return None,
        })
    }

    /// Returns PostgreSQL's name of a pattern's operator.
    fn symbol(self) -> &'static str {
        match self {
            Self::Like => "~~",
            Self::LikeInAnyCase => "~~*",
            Self::Match => "~",
            Self::MatchInAnyCase => "~*",
            _ => "=",
        }
    }

    /// Reads the operand.
    fn test(self, kind: ColumnType, text: Option<&str>) -> Result<Test, SqlError> {
        let Some(text) = text else { return Ok(Test::Compare(Ordering::is_eq, Value::Null)) };
        if let Some(holds) = self.holds() {
            return Ok(Test::Compare(holds, kind.read(text)?));
        }
        // PostgREST writes `*` for `%`.
        let like = || text.replace('*', "%");
        Ok(Test::Matches(match self {
            Self::Like => Pattern::like(&like(), false),
            Self::LikeInAnyCase => Pattern::like(&like(), true),
            Self::MatchInAnyCase => Pattern::regex(text, true)?,
            _ => Pattern::regex(text, false)?,
        }))
    }
}

impl Filter {
    /// Checks that the columns of a condition exist and have its operators, as PostgreSQL does before
    /// it reads any operand.
    pub(super) fn check(condition: &Condition, table: &str, columns: &Columns) -> Result<(), SqlError> {
        let (field, operation) = match condition {
            Condition::Group { members, .. } => {
                return members.iter().try_for_each(|member| Self::check(member, table, columns));
            }
            Condition::Test { field, operation, .. } => (field, operation),
        };
        let kind = columns.named(table, &field.name)?;
        if field.has_path {
            return Err(SqlError::no_operator(kind.name(), "->"));
        }
        match operation {
            Operation::Compare(comparison, ..)
                if comparison.holds().is_none() && kind != ColumnType::Text =>
            {
                Err(SqlError::no_operator(kind.name(), comparison.symbol()))
            }
            Operation::Is(Truth::Of(word)) => {
                let text = format!("argument of IS {word} must be type boolean, not type {}", kind.name());
                Err(SqlError::new("42804", text))
            }
            Operation::Other(symbol) => Err(SqlError::no_operator(kind.name(), symbol)),
            Operation::TextSearch => Err(SqlError::new("0A000", "the stand-in has no text search")),
            _ => Ok(()),
        }
    }

    /// Reads the operands of a condition that [`check`](Self::check) has passed.
    pub(in crate::supabase) fn read(condition: &Condition, columns: &Columns) -> Result<Self, SqlError> {
        let (filter, negated) = match condition {
            Condition::Group { any, negated, members } => {
                let members = members.iter().map(|member| Self::read(member, columns));
                let members = members.collect::<Result<_, _>>()?;
                (if *any { Self::Any(members) } else { Self::All(members) }, *negated)
            }
            Condition::Test { field, negated, operation } => {
                let kind = columns.kind(&field.name).unwrap_or(ColumnType::Text);
                (Self::of_test(&field.name, kind, operation)?, *negated)
            }
        };
        Ok(if negated { Self::Not(Box::new(filter)) } else { filter })
    }

    fn of_test(name: &str, kind: ColumnType, operation: &Operation) -> Result<Self, SqlError> {
        let column = |test| Self::Column(name.to_owned(), test);
        Ok(match operation {
            Operation::Compare(comparison, None, text) => column(comparison.test(kind, Some(text))?),
            Operation::Compare(comparison, Some(quantifier), text) => {
                let tests = elements(text)?.into_iter().map(|item| comparison.test(kind, item.as_deref()));
                let members = tests.map(|test| test.map(column)).collect::<Result<_, _>>()?;
                if *quantifier == Quantifier::Any { Self::Any(members) } else { Self::All(members) }
            }
            Operation::In(items) => {
                let items = items.iter().map(|item| kind.read(item));
                column(Test::In(items.collect::<Result<_, _>>()?))
            }
            Operation::Is(Truth::NotNull) => Self::Not(Box::new(column(Test::Null))),
            Operation::Distinct(text) => column(Test::Distinct(kind.read(text)?)),
            // The others were refused.
            Operation::Is(_) | Operation::Other(_) | Operation::TextSearch => column(Test::Null),
        })
    }

    /// Returns true when the row satisfies the condition.
    pub(in crate::supabase) fn matches(&self, row: &Record) -> bool {
        self.holds(row) == Ok(Some(true))
    }

    /// Returns true when matching the condition can fail.
    pub(super) fn has_pattern(&self) -> bool {
        match self {
            Self::Column(_, test) => matches!(test, Test::Matches(_)),
            Self::All(members) | Self::Any(members) => members.iter().any(Self::has_pattern),
            Self::Not(member) => member.has_pattern(),
        }
    }

    /// Returns the error of a pattern that can't be matched against the row.
    pub(super) fn error(&self, row: &Record) -> Option<SqlError> {
        self.holds(row).err()
    }

    /// Evaluates the condition in SQL's three-valued logic: a comparison with null is neither true
    /// nor false.
    fn holds(&self, row: &Record) -> Result<Option<bool>, SqlError> {
        match self {
            Self::Column(name, test) => test.holds(name, row.get(name).unwrap_or(&Value::Null)),
            Self::All(members) => combine(members, row, false),
            Self::Any(members) => combine(members, row, true),
            Self::Not(member) => Ok(member.holds(row)?.map(|holds| !holds)),
        }
    }
}

/// Evaluates `and` (`decisive` is false) or `or` (`decisive` is true).
fn combine(members: &[Filter], row: &Record, decisive: bool) -> Result<Option<bool>, SqlError> {
    let mut known = Some(!decisive);
    for member in members {
        match member.holds(row)? {
            Some(holds) if holds == decisive => return Ok(Some(decisive)),
            Some(_) => {}
            None => known = None,
        }
    }
    Ok(known)
}

impl Test {
    fn holds(&self, column: &str, value: &Value) -> Result<Option<bool>, SqlError> {
        Ok(match self {
            Self::Compare(holds, operand) => compare(column, value, operand).map(holds),
            Self::In(_) if value.is_null() => None,
            Self::In(items) => {
                Some(items.iter().any(|item| compare(column, value, item).is_some_and(Ordering::is_eq)))
            }
            Self::Null => Some(value.is_null()),
            Self::Distinct(operand) => Some(compare(column, value, operand).is_none_or(Ordering::is_ne)),
            Self::Matches(pattern) => match value {
                Value::Null => None,
                Value::String(text) => Some(pattern.matches(text)?),
                other => Some(pattern.matches(&other.to_string())?),
            },
        })
    }
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

#[cfg(test)]
mod tests {
    use super::super::condition::Field;
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
        parsed(name, text).expect("a filter").matches(&row())
    }

    fn parsed(name: &str, text: &str) -> Option<Filter> {
        let condition = match name.rsplit_once('.').map_or(name, |(_, last)| last) {
            "and" | "or" => Condition::of_group(name, text),
            name => Condition::of_column(Field { name: name.to_owned(), has_path: false }, text),
        };
        let condition = condition.ok()?;
        Filter::check(&condition, "t", &Columns::default()).ok()?;
        Filter::read(&condition, &Columns::default()).ok()
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
        assert!(matches("corrected", "isdistinct.x") && !matches("corrected", "not.isdistinct.x"));
        assert!(matches("corrected", "is.NULL") && matches("domain", "is.not_null"));
        assert!(!matches("corrected", "like.*") && !matches("corrected", "not.like.*"));
    }

    #[test]
    fn patterns_are_those_of_sql_with_a_star() {
        assert!(
            matches("domain", "like.b*d") && matches("domain", "like.b%d") && matches("domain", "like._rand")
        );
        assert!(!matches("domain", "like.B*") && matches("domain", "ilike.B*"));
        assert!(
            matches("domain", "match.^b.*d$")
                && !matches("domain", "match.B")
                && matches("domain", "imatch.B")
        );
    }

    proptest! {
        #[test]
        fn any_filter_is_read_without_panic(name in "(and|or|id|typo)", text in "\\(?.{0,60}\\)?") {
            if let Some(filter) = parsed(&name, &text) {
                let _ = filter.matches(&row());
            }
        }
    }
}
