//! Bounds on the patterns and replacements of a `tokenizer.json`.
//!
//! A pattern is matched by backtracking, whose time may double with each character of a text. The
//! patterns of real tokenizers repeat characters and classes of characters, never groups, so a pattern
//! beyond that is refused before it is compiled.

use serde_json::Value;

use super::super::ModelError;
use super::super::files::unsupported;

/// Length of the longest pattern, in bytes. A pattern that lists phrases of templates is the longest.
const LONGEST: usize = 64 << 10;
/// Largest number of characters and classes that one alternative repeats without a limit.
const REPETITIONS: usize = 3;
/// Largest count in a repetition such as `{1,3}`.
const MOST_TIMES: u32 = 1_000;
/// Largest factor by which all replacements together may lengthen a text.
const LENGTHENING: usize = 64;

/// Checks a normalizer or a pre-tokenizer, with everything inside it.
pub(super) fn check(part: &Value) -> Result<(), ModelError> {
    let mut growth = 1;
    visit(part, &mut growth)
}

fn visit(part: &Value, growth: &mut usize) -> Result<(), ModelError> {
    match part {
        Value::Array(parts) => parts.iter().try_for_each(|part| visit(part, growth)),
        Value::Object(fields) => {
            if let Some(pattern) = fields.get("Regex").and_then(Value::as_str) {
                check_pattern(pattern)?;
            }
            if fields.get("type").is_some_and(|kind| kind == "Replace") {
                let content = fields.get("content").and_then(Value::as_str).unwrap_or_default();
                *growth = growth.saturating_mul(content.chars().count().max(1));
                if *growth > LENGTHENING {
                    let found = format!("replacements that make a text {growth} times as long");
                    return unsupported("normalizer in tokenizer.json", found, "up to 64 times");
                }
            }
            fields.values().try_for_each(|part| visit(part, growth))
        }
        _ => Ok(()),
    }
}

fn check_pattern(pattern: &str) -> Result<(), ModelError> {
    match problem(pattern) {
        None => Ok(()),
        Some(problem) => unsupported(
            "pattern in tokenizer.json",
            format!("one with {problem}"),
            "patterns that repeat single characters and classes, at most three in each alternative",
        ),
    }
}

/// Returns the reason to refuse a pattern.
fn problem(pattern: &str) -> Option<&'static str> {
    if pattern.len() > LONGEST {
        return Some("more than 65536 bytes");
    }
    let mut letters = pattern.chars().peekable();
    let (mut in_class, mut after_group, mut repetitions) = (0_usize, false, 0);
    while let Some(letter) = letters.next() {
        let mut is_group = false;
        match letter {
            '\\' => match letters.next() {
                Some('1'..='9' | 'k' | 'g') if in_class == 0 => return Some("a reference to a group"),
                _ => {}
            },
            '[' => in_class += 1,
            ']' => in_class = in_class.saturating_sub(1),
            _ if in_class > 0 => {}
            ')' => is_group = true,
            '|' => repetitions = 0,
            '*' | '+' if after_group => return Some("a repeated group"),
            '*' | '+' => repetitions += 1,
            '{' => {
                let bounds: String = letters.by_ref().take_while(|letter| *letter != '}').collect();
                if after_group {
                    return Some("a repeated group");
                }
                if bounds.split(',').any(|bound| bound.parse::<u32>().is_ok_and(|times| times > MOST_TIMES)) {
                    return Some("more than 1000 repetitions");
                }
                repetitions += 1;
            }
            // `?` makes a group optional or, after a repetition, lazy; the rest are characters.
            _ => {}
        }
        if repetitions > REPETITIONS {
            return Some("more than three repetitions in an alternative");
        }
        // After `)?` another sign still belongs to the group.
        after_group = is_group || (after_group && letter == '?');
        // A possessive `++` is one repetition.
        if matches!(letter, '*' | '+' | '?') && in_class == 0 && letters.peek() == Some(&'+') {
            letters.next();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_of_real_tokenizers_are_accepted() {
        for pattern in [
            r"\S",
            r"(?<!\w)car\sbrand:(?!\w)|\(new\)|\S",
            r" {2,}",
            r"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        ] {
            assert_eq!(problem(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_take_exponential_time_are_refused() {
        for pattern in [
            r"(a+)+$",
            r"(a*)*b",
            r"(a|aa)+$",
            r"(?:a|a)*b",
            r"(a?){40}a{40}",
            r"(?=x)(\w+\s?)+$",
            r"(.*)\1{2}x",
            r"(?<x>a+)\k<x>",
            r"a*a*a*a*b",
            r"\w{100000}",
        ] {
            assert!(problem(pattern).is_some(), "{pattern}");
        }
        assert!(problem(&"x".repeat(LONGEST + 1)).is_some());
    }

    #[test]
    fn replacements_may_not_multiply() {
        let replace =
            |content: &str| json!({ "type": "Replace", "pattern": { "String": "a" }, "content": content });
        let sequence = |count| json!({ "type": "Sequence", "normalizers": vec![replace("aaaa"); count] });
        assert!(check(&sequence(3)).is_ok());
        assert!(check(&sequence(4)).is_err());
        assert!(check(&replace("\u{2581}")).is_ok());
        let nested = json!({ "type": "Split", "pattern": { "Regex": "(a+)+" }, "behavior": "Isolated" });
        assert!(check(&json!({ "pretokenizers": [nested] })).is_err());
    }
}
