//! The grammar of `select`, and the columns of the result.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::super::postgres::cast::Target;
use super::super::postgres::column::{COLUMNS, ColumnType, Columns};
use super::super::postgres::sql_error::SqlError;
use super::super::table::Record;
use super::condition::{Field, field};
use super::parser::{Failed, Parsed, Parser, SyntaxError};

/// One item of a selection, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SelectItem {
    All,
    Column {
        alias: Option<String>,
        field: Field,
        cast: Option<String>,
    },
    /// Rows of another table.
    Relation(String),
    Aggregate,
}

/// Parses the value of `select`.
pub(super) fn select(text: &str) -> Result<Vec<SelectItem>, SyntaxError> {
    let name = format!("failed to parse select parameter ({text})");
    Parser::read(text, &name, |parser| {
        let mut items = Vec::new();
        if text.is_empty() {
            return Ok(items);
        }
        items.push(item(parser)?);
        while parser.attempt(|parser| parser.spaced(',')).is_some() {
            items.push(item(parser)?);
        }
        Ok(items)
    })
}

fn item(parser: &mut Parser<'_>) -> Parsed<SelectItem> {
    parser.blanks();
    let relation = parser.attempt(|parser| {
        let _ = parser.attempt(|parser| parser.word("..."));
        alias(parser);
        let name = parser.name()?;
        while parser.attempt(|parser| parser.symbol('!')).is_some() {
            parser.name()?;
        }
        parser.symbol('(')?;
        if name == "count" { Err(Failed) } else { Ok(name) }
    });
    if let Some(relation) = relation {
        nested(parser)?;
        return Ok(SelectItem::Relation(relation));
    }
    let all = parser.attempt(|parser| {
        parser.symbol('*')?;
        parser.end_or(&[')', ','])
    });
    if all.is_some() {
        return Ok(SelectItem::All);
    }
    let count = parser.attempt(|parser| {
        alias(parser);
        parser.word("count()")?;
        cast(parser)?;
        parser.end_or(&[')', ','])
    });
    if count.is_some() {
        return Ok(SelectItem::Aggregate);
    }
    let alias = alias(parser);
    parser.blanks();
    let field = field(parser)?;
    parser.blanks();
    let to = cast(parser)?;
    let aggregate = parser.attempt(|parser| {
        parser.delimiter()?;
        let names = ["sum", "avg", "count", "max", "min"];
        names.into_iter().find(|name| parser.word(name).is_ok()).ok_or(Failed)?;
        parser.word("()")
    });
    cast(parser)?;
    parser.blanks();
    parser.end_or(&[')', ','])?;
    Ok(match aggregate {
        Some(()) => SelectItem::Aggregate,
        None => SelectItem::Column { alias, field, cast: to },
    })
}

/// Reads the items within a relation's parentheses, which this table has no use for.
fn nested(parser: &mut Parser<'_>) -> Parsed<()> {
    let mut depth = 1;
    while depth > 0 {
        parser.until(&['(', ')']);
        match parser.peek() {
            Some('(') => depth += 1,
            Some(_) => depth -= 1,
            None => return parser.symbol(')'),
        }
        let mark = parser.mark();
        parser.back(mark + 1);
    }
    Ok(())
}

fn alias(parser: &mut Parser<'_>) -> Option<String> {
    parser.attempt(|parser| {
        let name = parser.name()?;
        parser.symbol(':')?;
        if parser.peek() == Some(':') { Err(Failed) } else { Ok(name) }
    })
}

fn cast(parser: &mut Parser<'_>) -> Parsed<Option<String>> {
    match parser.attempt(|parser| parser.word("::")) {
        Some(()) => parser.identifier().map(|name| Some(name.to_owned())),
        None => Ok(None),
    }
}

/// One column of the result.
#[derive(Debug, Clone)]
struct Output {
    name: Cow<'static, str>,
    column: Cow<'static, str>,
    kind: ColumnType,
    cast: Option<Target>,
}

/// The columns of the result.
#[derive(Debug, Clone)]
pub(in crate::supabase) struct Projection(Vec<Output>);

impl Projection {
    /// Finds the columns of a selection. Relations and aggregates are refused before.
    pub(super) fn of(items: &[SelectItem], table: &str, columns: &Columns) -> Result<Self, SqlError> {
        let mut outputs = Vec::new();
        for item in items {
            match item {
                SelectItem::All => outputs.extend(Self::all(columns).0),
                SelectItem::Column { alias, field, cast } => {
                    let kind = columns.named(table, &field.name)?;
                    if field.has_path {
                        return Err(SqlError::no_operator(kind.name(), "->"));
                    }
                    let cast = cast.as_ref().map(|name| Target::find(kind, name)).transpose()?;
                    let name = alias.as_ref().unwrap_or(&field.name).clone().into();
                    outputs.push(Output { name, column: field.name.clone().into(), kind, cast });
                }
                SelectItem::Relation(_) | SelectItem::Aggregate => {}
            }
        }
        Ok(Self(outputs))
    }

    /// Returns all columns of the table.
    pub(super) fn all(columns: &Columns) -> Self {
        let output = |name: &'static str| {
            Some(Output { name: name.into(), column: name.into(), kind: columns.kind(name)?, cast: None })
        };
        Self(COLUMNS.into_iter().filter_map(output).collect())
    }

    /// Returns the selected columns of a row.
    pub(in crate::supabase) fn project(&self, row: &Record) -> Result<Row, SqlError> {
        let value = |output: &Output| {
            let value = row.get(&*output.column).unwrap_or(&Value::Null);
            let value = match output.cast {
                Some(target) => target.convert(output.kind, value)?,
                None => value.clone(),
            };
            Ok((output.name.clone(), value))
        };
        self.0.iter().map(value).collect::<Result<_, _>>().map(Row)
    }

    /// Writes rows as CSV, with PostgreSQL's quoting. Without a row there are no names either.
    pub(in crate::supabase) fn csv(&self, rows: &[Row]) -> String {
        let names = match rows {
            [] => String::new(),
            _ => self.0.iter().map(|output| &*output.name).collect::<Vec<_>>().join(","),
        };
        let field = |(output, (_, value)): (&Output, &(Cow<'static, str>, Value))| {
            let text = match output.cast {
                Some(target) => target.text(value),
                None => output.kind.text(value),
            };
            text.map_or_else(String::new, |text| quoted(&text))
        };
        let line = |row: &Row| self.0.iter().zip(&row.0).map(field).collect::<Vec<_>>().join(",");
        format!("{names}\n{}", rows.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// Quotes a value as PostgreSQL quotes a field of a row.
fn quoted(text: &str) -> String {
    let special = |c: char| "\"\\(),".contains(c) || c.is_ascii_whitespace();
    match text.is_empty() || text.contains(special) {
        true => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A row of the result: names and values in the order of the selection.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::supabase) struct Row(Vec<(Cow<'static, str>, Value)>);

impl Row {
    /// Drops the columns that are null.
    pub(in crate::supabase) fn without_nulls(self) -> Self {
        Self(self.0.into_iter().filter(|(_, value)| !value.is_null()).collect())
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn projected(text: &str) -> Result<String, SqlError> {
        let row = match json!({"id": 7, "typo": "a,\"b", "corrected": "", "domain": null, "created_at": null})
        {
            Value::Object(row) => row,
            _ => Record::new(),
        };
        let items = select(text).expect("a selection");
        let projection = Projection::of(&items, "t", &Columns::default())?;
        Ok(serde_json::to_string(&projection.project(&row)?).expect("JSON"))
    }

    #[test]
    fn items_have_aliases_and_casts() {
        assert_eq!(
            projected("typo, number:id::text ,id").as_deref(),
            Ok(r#"{"typo":"a,\"b","number":"7","id":7}"#)
        );
        assert_eq!(projected("*").as_deref().map(|text| text.starts_with("{\"id\":7,\"typo\"")), Ok(true));
        assert_eq!(projected("").as_deref(), Ok("{}"));
        assert_eq!(projected("typo->>a").map_err(|error| error.code), Err("42883"));
        assert_eq!(
            select("brands!inner(*),a"),
            Ok(vec![
                SelectItem::Relation("brands".to_owned()),
                SelectItem::Column {
                    alias: None,
                    field: Field { name: "a".to_owned(), has_path: false },
                    cast: None
                },
            ])
        );
        for aggregate in ["count()", "n:count()", "id.max()", "id.sum()::text"] {
            assert_eq!(select(aggregate), Ok(vec![SelectItem::Aggregate]), "{aggregate}");
        }
        for wrong in ["id,", ",", "x:*", "id::", "a b(", "id.foo()", "id!"] {
            assert!(select(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn csv_is_quoted_as_postgresql_quotes_rows() {
        assert_eq!(quoted(""), "\"\"");
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!(quoted("a\"b\\"), "\"a\"\"b\\\\\"");
        assert_eq!(quoted("a;b"), "a;b");
        assert_eq!(Projection::all(&Columns::default()).csv(&[]), "\n");
    }
}
