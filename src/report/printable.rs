//! Removal of control characters from the texts of a report.
//!
//! A report prints lines that begin at the margin, and its texts come from records, receipts and files
//! that other programs may have written.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::text::plain_line;

/// Returns a value whose texts, names of fields included, have no control character.
///
/// # Errors
/// When the value is not of this type.
pub(super) fn printable<T: DeserializeOwned>(value: &impl Serialize) -> serde_json::Result<T> {
    serde_json::from_value(without_control(serde_json::to_value(value)?))
}

fn without_control(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(line(text)),
        Value::Array(values) => values.into_iter().map(without_control).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (line(name), without_control(value))).collect()
        }
        other => other,
    }
}

fn line(text: String) -> String {
    if text.contains(char::is_control) { plain_line(&text, text.len()) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_texts_fit_a_line() {
        let value = json!({ "a\nb": ["x\u{1b}[2J", 0.1, null], "c": "two  spaces" });
        let expected = json!({ "a b": ["x [2J", 0.1, null], "c": "two  spaces" });
        assert_eq!(printable::<Value>(&value).unwrap(), expected);
    }
}
