//! The server's own words in an error answer: PostgREST's `code`, `message`, `hint` and `details`, or
//! the title of a gateway's page.
//!
//! An error shows them, so they are cut to a length, put on one line, and rid of everything that may
//! quote a row or a secret.

use std::fmt;

use serde_json::Value;

use crate::redaction::SHORTEST_SECRET;
use crate::text::plain_line;

/// Longest part that is kept, in bytes.
const SHOWN: usize = 300;

/// The server's own words. Every part may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerMessage {
    /// Code of PostgREST (`PGRST301`) or PostgreSQL (`42501`).
    pub code: Option<String>,
    /// Sentence that says what is wrong.
    pub message: Option<String>,
    /// Advice of the server.
    pub hint: Option<String>,
    /// Further details.
    pub details: Option<String>,
}

impl ServerMessage {
    /// Reads the body of an error answer. Returns `None` for a body that is not a JSON object, such
    /// as a gateway's page. `secret`, the key, is left out wherever it occurs.
    pub(super) fn of_json(body: &[u8], secret: &str) -> Option<Self> {
        let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return None };
        let part = |names: &[&str]| {
            let texts = names.iter().filter_map(|name| object.get(*name)?.as_str());
            texts.map(|text| shown(text, secret)).find(|text| !text.is_empty())
        };
        let said = Self {
            code: part(&["code", "error_code"]),
            // PostgREST says `message`; the gateway and other services say `error` or `msg`.
            message: part(&["message", "msg", "error_description", "error"]),
            hint: part(&["hint"]),
            details: part(&["details"]),
        };
        Some(said.without_rows())
    }

    /// Reads the title of a gateway's HTML page.
    pub(super) fn of_page(body: &[u8], secret: &str) -> Self {
        let text = String::from_utf8_lossy(body);
        let lower = text.to_ascii_lowercase();
        let title = lower.find("<title>").and_then(|start| {
            let start = start + "<title>".len();
            let length = lower[start..].find("</title>")?;
            // Lower-casing ASCII letters moves no byte.
            text.get(start..start + length)
        });
        let title = title.map(|title| shown(title, secret)).filter(|title| !title.is_empty());
        Self { message: title, ..Self::default() }
    }

    /// Returns the code, or an empty text.
    pub(super) fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
    }

    /// Returns true when the message or the hint contains `words`, whatever their case.
    pub(super) fn says(&self, words: &str) -> bool {
        let words = words.to_ascii_lowercase();
        [&self.message, &self.hint]
            .into_iter()
            .flatten()
            .any(|text| text.to_ascii_lowercase().contains(&words))
    }

    /// Removes what may quote a row's values. Data exceptions (22) and broken constraints (23) quote a
    /// value; only whole numbers stay, since those are ids that this worker asked for. An exception
    /// that a function of the project raises (P0) may say anything.
    fn without_rows(mut self) -> Self {
        match self.code().get(..2) {
            Some("22" | "23") => {
                self.message = self.message.as_deref().map(without_quotes);
                self.hint = None;
                self.details = None;
            }
            Some("P0") => {
                self.message = Some("a function of the database raised an exception".to_owned());
                self.hint = None;
                self.details = None;
            }
            _ => {}
        }
        self
    }
}

impl fmt::Display for ServerMessage {
    /// Writes the parts as sentences, without the code.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.as_deref().unwrap_or("no message");
        formatter.write_str(message.trim_end_matches('.'))?;
        for (name, part) in [("details", &self.details), ("hint", &self.hint)] {
            if let Some(part) = part {
                write!(formatter, "; {name}: {}", part.trim_end_matches('.'))?;
            }
        }
        Ok(())
    }
}

/// Puts a text on one line, cuts it, and leaves the secret out.
fn shown(text: &str, secret: &str) -> String {
    match secret.len() < SHORTEST_SECRET {
        true => plain_line(text, SHOWN),
        false => plain_line(&text.replace(secret, "…"), SHOWN),
    }
}

/// Replaces every quoted text by `…`, except for whole numbers.
fn without_quotes(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        let (before, quoted) = rest.split_at(start);
        kept.push_str(before);
        // A value may hold quotes itself, so everything up to the last quote is taken for it, unless
        // the text up to the next quote is a number.
        let next = quoted[1..].find('"').map(|end| &quoted[1..=end]);
        if let Some(number) = next.filter(|number| number.parse::<i128>().is_ok()) {
            kept.push_str(&format!("\"{number}\""));
            rest = &quoted[number.len() + 2..];
            continue;
        }
        kept.push_str("\"…\"");
        rest = match quoted.rfind('"') {
            Some(end) if end > 0 => &quoted[end + 1..],
            _ => "",
        };
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(body: &str) -> ServerMessage {
        ServerMessage::of_json(body.as_bytes(), "the-key").expect("an object")
    }

    #[test]
    fn all_parts_are_shown_on_one_line_without_the_key() {
        let said = of(
            r#"{"code":"42501","message":"permission denied\nfor table t.","hint":"GRANT SELECT ON t TO anon; the-key","details":null}"#,
        );
        assert_eq!(said.to_string(), "permission denied for table t; hint: GRANT SELECT ON t TO anon; …");
        assert_eq!(said.code(), "42501");
        assert!(said.says("PERMISSION denied"));
        assert_eq!(of(r#"{"error":"requested path is invalid"}"#).to_string(), "requested path is invalid");
        assert_eq!(of(r#"{"code":7,"details":[{"a":1}]}"#).to_string(), "no message");
        let said = ServerMessage::of_json(br#"{"message":"exceed_egress_quota"}"#, "x");
        assert_eq!(said.map(|said| said.to_string()).as_deref(), Some("exceed_egress_quota"));
        assert_eq!(ServerMessage::of_json(b"<html>", ""), None);
        assert_eq!(ServerMessage::of_json(b"[1]", ""), None);
    }

    #[test]
    fn a_page_is_known_by_its_title() {
        let page = b"<!DOCTYPE html><HTML><head><TITLE>\n example.org | 522: Connection timed out</title>";
        let said = ServerMessage::of_page(page, "");
        assert_eq!(said.to_string(), "example.org | 522: Connection timed out");
        assert_eq!(ServerMessage::of_page(b"\xff<title>", "").message, None);
    }

    #[test]
    fn values_of_rows_are_left_out_and_ids_stay() {
        let uuid = of(r#"{"code":"22P02","message":"invalid input syntax for type uuid: \"0\""}"#);
        assert_eq!(uuid.to_string(), r#"invalid input syntax for type uuid: "0""#);
        let row = of(
            r#"{"code":"22P02","message":"invalid input syntax for type integer: \"a \"secret\" b\"","details":"Token secret","hint":"secret"}"#,
        );
        assert_eq!(row.to_string(), r#"invalid input syntax for type integer: "…""#);
        let raised = of(r#"{"code":"P0001","message":"bad row secret","details":"secret","hint":"secret"}"#);
        assert!(!raised.to_string().contains("secret"), "{raised}");
    }

    proptest! {
        #[test]
        fn any_body_is_read_within_bounds(message in ".{0,900}", code in "(22P02|P0001|42501|.{0,8})", noise in "(?s).{0,80}") {
            let body = serde_json::json!({"code": code, "message": message, "hint": noise}).to_string();
            let said = ServerMessage::of_json(body.as_bytes(), "key").expect("an object");
            prop_assert!(said.to_string().chars().count() <= 3 * (SHOWN + 20));
            prop_assert!(!said.to_string().chars().any(char::is_control));
            let _ = ServerMessage::of_page(noise.as_bytes(), "key");
        }

        #[test]
        fn no_quoted_value_stays(value in "[a-z\"]{1,20}") {
            let text = format!("invalid input syntax for type integer: \"<{value}>\"");
            let begin = format!("<{}", &value[..1]);
            prop_assert!(!without_quotes(&text).contains(&begin));
        }
    }
}
