//! Casts of selected columns: `select=id::text`.

use serde_json::Value;

use super::column::ColumnType;
use super::integer::Width;
use super::sql_error::SqlError;
use super::timestamp::{TimeType, stored};

/// Type that a column is cast to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supabase) enum Target {
    Column(ColumnType),
    Date,
}

/// Casts of PostgreSQL that this stand-in does not have.
const NOT_HERE: [&str; 9] =
    ["bool", "boolean", "json", "jsonb", "numeric", "float4", "float8", "time", "interval"];

impl Target {
    /// Finds the cast from a column's type to the type with this name.
    pub(in crate::supabase) fn find(from: ColumnType, name: &str) -> Result<Self, SqlError> {
        let target = match name.trim().to_ascii_lowercase().as_str() {
            "text" | "varchar" | "character varying" => Self::Column(ColumnType::Text),
            "int2" | "smallint" => Self::Column(ColumnType::Integer(Width::Small)),
            "int" | "int4" | "integer" => Self::Column(ColumnType::Integer(Width::Normal)),
            "int8" | "bigint" => Self::Column(ColumnType::Integer(Width::Big)),
            "uuid" => Self::Column(ColumnType::Uuid),
            "timestamptz" => Self::Column(ColumnType::Time(TimeType::WithZone)),
            "timestamp" => Self::Column(ColumnType::Time(TimeType::WithoutZone)),
            "date" => Self::Date,
            other if NOT_HERE.contains(&other) => {
                return Err(SqlError::new("0A000", format!("the stand-in has no cast to {other}")));
            }
            _ => return Err(SqlError::new("42704", format!("type \"{name}\" does not exist"))),
        };
        let allowed = matches!(
            (from, target),
            (ColumnType::Text, _)
                | (_, Self::Column(ColumnType::Text))
                | (ColumnType::Integer(_), Self::Column(ColumnType::Integer(_)))
                | (ColumnType::Uuid, Self::Column(ColumnType::Uuid))
                | (ColumnType::Time(_), Self::Date | Self::Column(ColumnType::Time(_)))
        );
        let message = || format!("cannot cast type {} to {}", from.name(), target.name());
        if allowed { Ok(target) } else { Err(SqlError::new("42846", message())) }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Column(column) => column.name(),
            Self::Date => "date",
        }
    }

    /// Converts a value of a column.
    pub(in crate::supabase) fn convert(self, from: ColumnType, value: &Value) -> Result<Value, SqlError> {
        let Some(text) = from.text(value) else { return Ok(Value::Null) };
        let at = || value.as_str().and_then(stored);
        match (from, self) {
            (ColumnType::Integer(_), Self::Column(ColumnType::Integer(width))) => {
                let number = value.as_i64().filter(|number| width.holds(*number));
                number
                    .map(Value::from)
                    .ok_or_else(|| SqlError::new("22003", format!("{} out of range", width.name())))
            }
            (ColumnType::Time(_), Self::Column(ColumnType::Time(time))) => {
                Ok(at().map_or(Value::Null, |at| time.json(at).into()))
            }
            (ColumnType::Text, Self::Date) => {
                let date = TimeType::WithoutZone.read(&text).map_err(|error| {
                    // The sentence names the type that was asked for.
                    SqlError { message: error.message.replace("type timestamp:", "type date:"), ..error }
                })?;
                Ok(date.strftime("%Y-%m-%d").to_string().into())
            }
            (_, Self::Date) => Ok(at().map_or(Value::Null, |at| at.strftime("%Y-%m-%d").to_string().into())),
            (_, Self::Column(column)) => column.read(&text),
        }
    }

    /// Returns a converted value as PostgreSQL writes it in a text.
    pub(in crate::supabase) fn text(self, value: &Value) -> Option<String> {
        match self {
            Self::Column(column) => column.text(value),
            Self::Date => value.as_str().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BIG: ColumnType = ColumnType::Integer(Width::Big);
    const TIME: ColumnType = ColumnType::Time(TimeType::WithZone);

    fn cast(from: ColumnType, name: &str, value: Value) -> Result<Value, SqlError> {
        Target::find(from, name)?.convert(from, &value)
    }

    #[test]
    fn casts_are_those_of_postgresql() {
        assert_eq!(cast(BIG, "text", json!(7)), Ok(json!("7")));
        assert_eq!(cast(BIG, "int4", Value::Null), Ok(Value::Null));
        assert_eq!(
            cast(TIME, "text", json!("2026-01-02T03:04:05.6+00:00")),
            Ok(json!("2026-01-02 03:04:05.6+00"))
        );
        assert_eq!(
            cast(TIME, "timestamp", json!("2026-01-02T03:04:05.6+00:00")),
            Ok(json!("2026-01-02T03:04:05.6"))
        );
        assert_eq!(cast(TIME, "date", json!("2026-01-02T03:04:05.6+00:00")), Ok(json!("2026-01-02")));
        assert_eq!(cast(ColumnType::Text, "int8", json!(" 7")), Ok(json!(7)));
        let fault = |from, name, value| cast(from, name, value).map_err(|error| (error.code, error.message));
        let error = |code, message: &str| Err((code, message.to_owned()));
        assert_eq!(fault(BIG, "int2", json!(70_000)), error("22003", "smallint out of range"));
        assert_eq!(fault(BIG, "uuid", json!(7)), error("42846", "cannot cast type bigint to uuid"));
        assert_eq!(
            fault(TIME, "int", json!("")),
            error("42846", "cannot cast type timestamp with time zone to integer")
        );
        assert_eq!(fault(BIG, "foo", json!(7)), error("42704", "type \"foo\" does not exist"));
        assert_eq!(
            fault(ColumnType::Text, "int", json!("x")),
            error("22P02", "invalid input syntax for type integer: \"x\"")
        );
    }
}
