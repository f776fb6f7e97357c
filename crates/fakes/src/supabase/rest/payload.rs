//! Bodies of writes.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{HeaderMap, header};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::postgres::column::{Columns, has_column};
use super::super::postgres::sql_error::SqlError;
use super::super::table::Record;
use super::refusal::{Refusal, error};

/// Objects of a body. Values that are no texts are as they are written: PostgreSQL reads `1.50` into a
/// text column as `1.50`.
#[derive(Debug, Default)]
pub(super) struct Payload {
    rows: Vec<BTreeMap<String, Option<String>>>,
    /// Columns to write.
    columns: BTreeSet<String>,
}

impl Payload {
    /// Parses a body. With `columns`, these are read from each object and others are ignored; without,
    /// all objects must have the same keys.
    pub(super) fn parse(
        headers: &HeaderMap,
        body: &[u8],
        columns: Option<&[String]>,
    ) -> Result<Self, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
        let rows = match kind {
            "application/json" | "application/vnd.pgrst.object+json" | "application/vnd.pgrst.array+json" => {
                json(body)?
            }
            "application/x-www-form-urlencoded" => {
                let pairs = url::form_urlencoded::parse(body);
                vec![pairs.map(|(name, value)| (name.into_owned(), Some(value.into_owned()))).collect()]
            }
            other => return Err(error(400, "PGRST102", &format!("Content-Type not acceptable: {other}"))),
        };
        if let Some(columns) = columns {
            return Ok(Self { rows, columns: columns.iter().cloned().collect() });
        }
        let keys = |row: &BTreeMap<String, _>| row.keys().cloned().collect::<BTreeSet<_>>();
        if rows.windows(2).any(|pair| keys(&pair[0]) != keys(&pair[1])) {
            return Err(error(400, "PGRST102", "All object keys must match"));
        }
        let columns = rows.first().map(keys).unwrap_or_default();
        Ok(Self { rows, columns })
    }

    /// Returns true when there is no column to write.
    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Checks that the table has every column.
    pub(super) fn check(&self, table: &str) -> Result<(), Refusal> {
        match self.columns.iter().find(|name| !has_column(name)) {
            Some(name) => {
                let text = format!("Could not find the '{name}' column of '{table}' in the schema cache");
                Err(error(400, "PGRST204", &text))
            }
            None => Ok(()),
        }
    }

    /// Reads the values of the columns to write. A column that an object lacks is null, or left out when
    /// it is to get its default.
    pub(super) fn records(&self, columns: &Columns, defaults: bool) -> Result<Vec<Record>, SqlError> {
        let value = |row: &BTreeMap<String, Option<String>>, name: &String| {
            let value = match row.get(name) {
                None if defaults => return Ok(None),
                None | Some(None) => Value::Null,
                Some(Some(text)) if text.contains('\0') => {
                    let error = SqlError::new("22P05", "unsupported Unicode escape sequence");
                    return Err(error.details("\\u0000 cannot be converted to text."));
                }
                Some(Some(text)) => match columns.kind(name) {
                    Some(kind) => kind.read(text)?,
                    None => Value::Null,
                },
            };
            Ok(Some((name.clone(), value)))
        };
        let record = |row| {
            self.columns.iter().filter_map(|name| value(row, name).transpose()).collect::<Result<_, _>>()
        };
        self.rows.iter().map(record).collect()
    }
}

/// Parses an object, or an array of objects. As in PostgREST, any other value has no rows.
fn json(body: &[u8]) -> Result<Vec<BTreeMap<String, Option<String>>>, Refusal> {
    let invalid = |_| error(400, "PGRST102", "Empty or invalid json");
    let whole: &RawValue = serde_json::from_slice(body).map_err(invalid)?;
    let objects: Vec<&RawValue> = match whole.get().as_bytes().first() {
        Some(b'{') => vec![whole],
        Some(b'[') => serde_json::from_str(whole.get()).map_err(invalid)?,
        _ => Vec::new(),
    };
    let object = |object: &RawValue| {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(object.get())
            .map_err(|_| error(400, "PGRST102", "All object keys must match"))?;
        Ok(fields.into_iter().map(|(name, value)| (name, text(value))).collect())
    };
    objects.into_iter().map(object).collect()
}

/// Returns the text of a value, or `None` for null.
fn text(value: &RawValue) -> Option<String> {
    match serde_json::from_str(value.get()) {
        Ok(Value::Null) => None,
        Ok(Value::String(text)) => Some(text),
        _ => Some(value.get().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(body: &str, columns: Option<&[&str]>) -> Result<Payload, u16> {
        let columns: Option<Vec<_>> =
            columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        Payload::parse(&HeaderMap::new(), body.as_bytes(), columns.as_deref())
            .map_err(|refusal| refusal.status())
    }

    fn records(body: &str, columns: Option<&[&str]>, defaults: bool) -> String {
        let payload = parse(body, columns).expect("a payload");
        let records = payload.records(&Columns::default(), defaults).expect("values");
        serde_json::to_string(&records).expect("JSON")
    }

    #[test]
    fn values_are_read_as_postgresql_reads_them() {
        assert_eq!(
            records(r#"{"typo": 1.50, "corrected": {"a":  [1]}, "id": "7"}"#, None, false),
            r#"[{"corrected":"{\"a\":  [1]}","id":7,"typo":"1.50"}]"#
        );
        assert_eq!(
            records(r#"[{"typo": true}, {"typo": null}]"#, None, false),
            r#"[{"typo":"true"},{"typo":null}]"#
        );
        let some = r#"[{"typo": "a", "other": 1}, {}]"#;
        assert_eq!(
            records(some, Some(&["typo", "domain"]), false),
            r#"[{"domain":null,"typo":"a"},{"domain":null,"typo":null}]"#
        );
        assert_eq!(records(some, Some(&["typo", "domain"]), true), r#"[{"typo":"a"},{}]"#);
        let fault = |body: &str| {
            parse(body, None)
                .expect("a payload")
                .records(&Columns::default(), false)
                .map_err(|error| error.code)
        };
        assert_eq!(fault(r#"{"id": 1.5}"#), Err("22P02"));
        assert_eq!(fault(r#"{"id": 99999999999999999999}"#), Err("22003"));
        assert_eq!(fault(r#"{"typo": "a\u0000"}"#), Err("22P05"));
        assert_eq!(fault(r#"{"created_at": "2026-02-30"}"#), Err("22008"));
    }

    #[test]
    fn bodies_that_are_no_rows_are_refused_or_empty() {
        for empty in ["[]", "5", "\"text\"", "null"] {
            assert_eq!(records(empty, None, false), "[]");
        }
        for invalid in ["", "{", "[{}", "{}{}", r#"[{"a":1},{"b":1}]"#, r#"[{"a":1},5]"#] {
            assert_eq!(parse(invalid, None).err(), Some(400), "{invalid}");
        }
        let unknown = parse(r#"{"nope": 1}"#, None).expect("a payload");
        assert_eq!(unknown.check("t").map_err(|refusal| refusal.status()), Err(400));
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(body in ".{0,80}") {
            let _ = parse(&body, None);
        }
    }
}
