//! Patterns: `like` and regular expressions.

use regex::{Regex, RegexBuilder};

use super::sql_error::SqlError;

/// Pattern that a text is matched against.
#[derive(Debug, Clone)]
pub(in crate::supabase) enum Pattern {
    /// Pattern of `like`; with `true`, that of `ilike`, which ignores case.
    Like(Vec<char>, bool),
    /// POSIX regular expression, which may match anywhere in the text.
    Regex(Regex),
}

/// Reason why a `like` pattern can't be matched: it ends with the escape character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dangling;

impl Pattern {
    pub(in crate::supabase) fn like(pattern: &str, any_case: bool) -> Self {
        let folded = if any_case { pattern.to_lowercase() } else { pattern.to_owned() };
        Self::Like(folded.chars().collect(), any_case)
    }

    /// Reads a regular expression. Those of PostgreSQL are read by another library, which knows back
    /// references and lookahead; such expressions are refused here.
    pub(in crate::supabase) fn regex(pattern: &str, any_case: bool) -> Result<Self, SqlError> {
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(any_case)
            .dot_matches_new_line(true)
            .octal(false)
            .size_limit(1 << 20)
            .build();
        regex.map(Self::Regex).map_err(|error| {
            let said = error.to_string();
            let fault = [
                ("group", "parentheses () not balanced"),
                ("class", "brackets [] not balanced"),
                ("repetition operator missing", "quantifier operand invalid"),
                ("repetition", "invalid repetition count(s)"),
                ("escape", "invalid escape \\ sequence"),
            ];
            let fault = fault.iter().find(|(word, _)| said.contains(word));
            let fault = fault.map_or("invalid regular expression", |(_, fault)| fault);
            SqlError::new("2201B", format!("invalid regular expression: {fault}"))
        })
    }

    /// Returns true when the text matches. A `like` pattern may end in an escape character: as in
    /// PostgreSQL, that is an error only for a text that gets the matching that far.
    pub(in crate::supabase) fn matches(&self, text: &str) -> Result<bool, SqlError> {
        match self {
            Self::Regex(regex) => Ok(regex.is_match(text)),
            Self::Like(pattern, any_case) => {
                let folded = if *any_case { text.to_lowercase() } else { text.to_owned() };
                let text: Vec<_> = folded.chars().collect();
                like(pattern, &text).map_err(|Dangling| {
                    SqlError::new("22025", "LIKE pattern must not end with escape character")
                })
            }
        }
    }
}

/// Matches without recursion: after a mismatch, the last `%` takes one more character.
fn like(pattern: &[char], text: &[char]) -> Result<bool, Dangling> {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('%') => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some('\\') if t < text.len() => {
                let literal = pattern.get(p + 1).ok_or(Dangling)?;
                (text[t] == *literal).then_some(2)
            }
            Some('_') if t < text.len() => Some(1),
            Some(literal) if t < text.len() => (text[t] == *literal).then_some(1),
            None if t == text.len() => return Ok(true),
            Some(_) | None => None,
        };
        match (step, retry) {
            (Some(step), _) => {
                p += step;
                t += 1;
            }
            (None, Some((after, taken))) if taken < text.len() => {
                retry = Some((after, taken + 1));
                p = after;
                t = taken + 1;
            }
            (None, _) => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_like(pattern: &str, text: &str) -> bool {
        Pattern::like(pattern, false).matches(text).expect("a good pattern")
    }

    #[test]
    fn like_follows_sql() {
        for (pattern, text) in [
            ("", ""),
            ("a%", "abc"),
            ("%b%", "abc"),
            ("_b_", "abc"),
            ("a\\%", "a%"),
            ("%%c", "abc"),
            ("%", ""),
        ] {
            assert!(is_like(pattern, text), "{text} like {pattern}");
        }
        for (pattern, text) in
            [("", "a"), ("a", "ab"), ("_", ""), ("a\\%", "ab"), ("A%", "abc"), ("%b", "abc")]
        {
            assert!(!is_like(pattern, text), "{text} not like {pattern}");
        }
        assert!(Pattern::like("Ä%", true).matches("äb").expect("a good pattern"));
        let dangling = Pattern::like("x\\", false);
        assert_eq!(dangling.matches("y"), Ok(false), "not reached");
        assert_eq!(dangling.matches("xy").map_err(|error| error.code), Err("22025"));
    }

    #[test]
    fn regular_expressions_match_anywhere() {
        let matches =
            |pattern: &str, text: &str| Pattern::regex(pattern, false).expect("a pattern").matches(text);
        assert_eq!(matches("oy", "toyota"), Ok(true));
        assert_eq!(matches("^oy", "toyota"), Ok(false));
        for (pattern, fault) in [
            ("(", "parentheses () not balanced"),
            ("[a", "brackets [] not balanced"),
            ("*a", "quantifier operand invalid"),
            ("a{2,1}", "invalid repetition count(s)"),
        ] {
            let error = Pattern::regex(pattern, false).expect_err("no pattern");
            assert_eq!(
                (error.code, error.message),
                ("2201B", format!("invalid regular expression: {fault}"))
            );
        }
    }

    proptest! {
        #[test]
        fn like_agrees_with_a_regular_expression(pattern in "[ab%_]{0,8}", text in "[ab]{0,10}") {
            let regex = format!("^{}$", pattern.replace('%', ".*").replace('_', "."));
            prop_assert_eq!(is_like(&pattern, &text), Regex::new(&regex).expect("a pattern").is_match(&text));
        }
    }
}
