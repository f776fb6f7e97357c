//! Literals of arrays: `{a,"b c",NULL}`.

use super::sql_error::SqlError;

/// Reads a literal of an array with one dimension. An element without quotes that reads `NULL` is
/// null.
pub(in crate::supabase) fn elements(text: &str) -> Result<Vec<Option<String>>, SqlError> {
    let malformed = |details: &str| {
        SqlError::new("22P02", format!("malformed array literal: \"{text}\"")).details(details)
    };
    let mut rest = text
        .trim()
        .strip_prefix('{')
        .ok_or_else(|| malformed("Array value must start with \"{\" or dimension information."))?;
    let mut elements = Vec::new();
    if let Some(after) = rest.trim_start().strip_prefix('}') {
        return if after.is_empty() {
            Ok(elements)
        } else {
            Err(malformed("Junk after closing right brace."))
        };
    }
    loop {
        rest = rest.trim_start();
        let (element, after) = element(rest).ok_or_else(|| malformed("Unexpected end of input."))?;
        elements.push(element.ok_or_else(|| {
            let found = after.chars().next().unwrap_or('}');
            malformed(&format!("Unexpected \"{found}\" character."))
        })?);
        rest = after.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return if after.is_empty() {
                Ok(elements)
            } else {
                Err(malformed("Junk after closing right brace."))
            };
        }
        rest = rest.strip_prefix(',').ok_or_else(|| malformed("Unexpected array element."))?;
    }
}

/// Reads one element. The outer value is `None` at the end of the text, and the inner one where there
/// is no element.
#[allow(clippy::type_complexity, reason = "an element that may be missing, and may be null")]
fn element(text: &str) -> Option<(Option<Option<String>>, &str)> {
    let mut read = String::new();
    let quoted = text.strip_prefix('"');
    let mut characters = quoted.unwrap_or(text).chars();
    loop {
        let rest = characters.as_str();
        match characters.next()? {
            '\\' => read.push(characters.next()?),
            '"' if quoted.is_some() => return Some((Some(Some(read)), characters.as_str())),
            ',' | '}' | '{' if quoted.is_none() => {
                let word = read.trim_end();
                let value = match word {
                    "" => None,
                    word if word.eq_ignore_ascii_case("null") => Some(None),
                    word => Some(Some(word.to_owned())),
                };
                return Some((value, rest));
            }
            character => read.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_as_postgresql_reads_them() {
        let read = |text| elements(text).expect("an array");
        let some = |texts: &[&str]| texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
        assert_eq!(read("{}"), []);
        assert_eq!(read("{a, b c ,\"d,\\\"e\"}"), some(&["a", "b c", "d,\"e"]));
        assert_eq!(read("{NULL,\"NULL\"}"), [None, Some("NULL".to_owned())]);
        for (text, details) in [
            ("x", "Array value must start with \"{\" or dimension information."),
            ("{x,}", "Unexpected \"}\" character."),
            ("{x", "Unexpected end of input."),
            ("{x}y", "Junk after closing right brace."),
        ] {
            let error = elements(text).expect_err("no array");
            assert_eq!((error.code, error.details.as_deref()), ("22P02", Some(details)), "{text}");
        }
    }
}
