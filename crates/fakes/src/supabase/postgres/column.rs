//! The columns of the table and their types.

use jiff::Timestamp;
use serde_json::Value;
use std::fmt::Write;

use super::super::table::Record;
use super::integer::Width;
use super::primary_key::IdType;
use super::sql_error::SqlError;
use super::timestamp::{TimeType, stored};

/// Name of every column, in table order.
pub(in crate::supabase) const COLUMNS: [&str; 5] = ["id", "typo", "corrected", "domain", "created_at"];

/// Returns true when the table has this column.
pub(in crate::supabase) fn has_column(name: &str) -> bool {
    COLUMNS.contains(&name)
}

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supabase) enum ColumnType {
    Integer(Width),
    Uuid,
    Text,
    Time(TimeType),
}

/// The columns as the table was created.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::supabase) struct Columns {
    pub(in crate::supabase) id: IdType,
    pub(in crate::supabase) created_at: TimeType,
    /// True when the texts are `not null check (.. <> '')`.
    pub(in crate::supabase) required: bool,
}

impl ColumnType {
    /// Returns PostgreSQL's name of the type, as its error messages have it.
    pub(in crate::supabase) fn name(self) -> &'static str {
        match self {
            Self::Integer(width) => width.name(),
            Self::Uuid => "uuid",
            Self::Text => "text",
            Self::Time(time) => time.name(),
        }
    }

    /// Returns the name of the type in the catalog, and in Realtime's list of columns.
    pub(in crate::supabase) fn catalog_name(self) -> &'static str {
        match self {
            Self::Integer(Width::Small) => "int2",
            Self::Integer(Width::Normal) => "int4",
            Self::Integer(Width::Big) => "int8",
            Self::Uuid => "uuid",
            Self::Text => "text",
            Self::Time(time) => time.catalog_name(),
        }
    }

    /// Reads a literal.
    pub(in crate::supabase) fn read(self, text: &str) -> Result<Value, SqlError> {
        if text.contains('\0') {
            return Err(SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"));
        }
        Ok(match self {
            Self::Integer(width) => width.read(text)?.into(),
            Self::Uuid => IdType::Uuid.read(text)?.value(),
            Self::Text => text.into(),
            Self::Time(time) => time.json(time.read(text)?).into(),
        })
    }

    /// Returns a value of the type as PostgreSQL writes it in a text.
    pub(in crate::supabase) fn text(self, value: &Value) -> Option<String> {
        match (self, value) {
            (_, Value::Null) => None,
            (Self::Time(time), Value::String(text)) => {
                Some(stored(text).map_or_else(|| text.clone(), |at| time.text(at)))
            }
            (_, Value::String(text)) => Some(text.clone()),
            (_, other) => Some(other.to_string()),
        }
    }
}

impl Columns {
    /// Returns the type of a column, or `None` when the table has no such column.
    pub(in crate::supabase) fn kind(&self, name: &str) -> Option<ColumnType> {
        match name {
            "id" => Some(self.id.column()),
            "typo" | "corrected" | "domain" => Some(ColumnType::Text),
            "created_at" => Some(ColumnType::Time(self.created_at)),
            _ => None,
        }
    }

    /// Returns the type of a column that a query names.
    pub(in crate::supabase) fn named(&self, table: &str, name: &str) -> Result<ColumnType, SqlError> {
        self.kind(name).ok_or_else(|| {
            let error = SqlError::new("42703", format!("column {table}.{name} does not exist"));
            match similar(name) {
                Some(column) => {
                    let hint = format!("Perhaps you meant to reference the column \"{table}.{column}\".");
                    error.hint(hint)
                }
                None => error,
            }
        })
    }

    /// Returns the value of `created_at` for a time.
    pub(in crate::supabase) fn moment(&self, at: Timestamp) -> Value {
        self.created_at.json(at).into()
    }

    /// Checks the constraints of a row.
    pub(in crate::supabase) fn check(&self, table: &str, row: &Record) -> Result<(), SqlError> {
        let texts = ["typo", "corrected", "domain"];
        let failing = || format!("Failing row contains ({}).", self.row_text(row));
        let required = ["id"].into_iter().chain(texts.into_iter().filter(|_| self.required));
        for column in required {
            if row.get(column).is_none_or(Value::is_null) {
                let text = format!(
                    "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
                );
                return Err(SqlError::new("23502", text).details(failing()));
            }
        }
        // PostgreSQL checks constraints in the order of their names.
        let mut checked = texts;
        checked.sort_unstable();
        for column in checked.into_iter().filter(|_| self.required) {
            if row.get(column) == Some(&Value::from("")) {
                let text = format!(
                    "new row for relation \"{table}\" violates check constraint \"{table}_{column}_check\""
                );
                return Err(SqlError::new("23514", text).details(failing()));
            }
        }
        Ok(())
    }

    /// Writes a row as an error's details have it: long values are cut.
    fn row_text(&self, row: &Record) -> String {
        let mut text = String::new();
        for column in COLUMNS {
            let value = row.get(column).zip(self.kind(column)).and_then(|(value, kind)| kind.text(value));
            let value = value.unwrap_or_else(|| "null".to_owned());
            let separator = if text.is_empty() { "" } else { ", " };
            let cut = value.len() > 64;
            let end = if cut { value.floor_char_boundary(64) } else { value.len() };
            let _ = write!(text, "{separator}{}{}", &value[..end], if cut { "..." } else { "" });
        }
        text
    }
}

/// Returns the column whose name is most like this one, by PostgreSQL's measure.
fn similar(name: &str) -> Option<&'static str> {
    let near = COLUMNS.map(|column| (distance(name, column), column));
    let (least, _) = near.into_iter().min()?;
    let mut nearest = near.into_iter().filter(|(distance, _)| *distance == least);
    let (_, column) = nearest.next()?;
    (least <= 3 && least <= name.chars().count() / 2 && nearest.next().is_none()).then_some(column)
}

/// Returns the number of letters to insert, delete or replace.
pub(in crate::supabase) fn distance(left: &str, right: &str) -> usize {
    let right: Vec<_> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (place, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_missing_column_is_told_with_the_one_that_is_meant() {
        let hint = |name| Columns::default().named("t", name).expect_err("no such column").hint;
        let meant = |column| Some(format!("Perhaps you meant to reference the column \"t.{column}\"."));
        assert_eq!(
            (hint("typ"), hint("create_at"), hint("corected")),
            (meant("typo"), meant("created_at"), meant("corrected"))
        );
        assert_eq!((hint("nope"), hint("x"), hint("something")), (None, None, None));
        let message = Columns::default().named("t", "nope").expect_err("no such column").message;
        assert_eq!(message, "column t.nope does not exist");
    }

    #[test]
    fn constraints_are_checked_in_postgresqls_order() {
        let columns = Columns { required: true, ..Columns::default() };
        let row = |typo: Value, domain: Value| match json!({"id": 1, "typo": typo, "corrected": "", "domain": domain})
        {
            Value::Object(row) => row,
            _ => Record::new(),
        };
        let error = |row| columns.check("t", &row).expect_err("a constraint");
        assert_eq!(error(row("".into(), Value::Null)).code, "23502");
        let checked = error(row("".into(), "x".into()));
        assert!(checked.code == "23514" && checked.message.ends_with("\"t_corrected_check\""));
        assert_eq!(checked.details.as_deref(), Some("Failing row contains (1, , , x, null)."));
        let long = error(row("a".repeat(70).into(), "x".into())).details.expect("details");
        assert!(long.contains(&format!("(1, {}..., ", "a".repeat(64))), "{long}");
        assert_eq!(Columns::default().check("t", &row(Value::Null, Value::Null)), Ok(()));
    }
}
