//! Front matter of a model card: the YAML between two lines `---`, one entry per key.
//!
//! Understands only what cards are written in: a mapping in block style. An entry is kept as the text
//! that it is, so that whatever we don't change stays as a person or a tool wrote it. Text in any other
//! form is not understood, and then nobody changes it.

use serde::{Deserialize, Serialize};

/// Largest number of characters of a value that is read.
const MAX_VALUE: usize = 300;

/// Front matter as its entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FrontMatter {
    /// Comments before the first key, with their line ends.
    pub(super) comment: String,
    /// Keys in order, each with all its lines.
    pub(super) entries: Vec<(String, String)>,
}

impl FrontMatter {
    /// Splits a page into its front matter and the text after it. `None` without front matter, and for
    /// one in a form that is not understood.
    pub(super) fn split(page: &str) -> Option<(Self, &str)> {
        let rest = page.strip_prefix("---\n")?;
        let (front, rest) = match rest.strip_prefix("---\n") {
            Some(rest) => ("", rest),
            None => {
                let end = rest.find("\n---\n").or_else(|| Some(rest.strip_suffix("\n---")?.len()))? + 1;
                (&rest[..end], rest.get(end + 4..).unwrap_or_default())
            }
        };
        Some((Self::parse(front)?, rest))
    }

    fn parse(front: &str) -> Option<Self> {
        // Callers make the line ends of a whole page one kind. In a mixture, readers differ in where a line,
        // and with it the front matter, ends.
        if front.contains('\r') {
            return None;
        }
        let mut parsed = Self::default();
        for line in front.lines() {
            let continued = line.trim().is_empty() || line.starts_with([' ', '\t', '-', '#']);
            match parsed.entries.last_mut() {
                Some((_, text)) if continued => {
                    text.push_str(line);
                    text.push('\n');
                }
                None if line.trim().is_empty() || line.starts_with('#') => {
                    parsed.comment.push_str(line);
                    parsed.comment.push('\n');
                }
                _ => {
                    let (key, value) = line.split_once(':')?;
                    let key = key.trim_end().trim_matches(['"', '\'']);
                    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
                    let fits = !continued && !key.is_empty() && key.chars().all(plain);
                    if !fits || !(value.is_empty() || value.starts_with(' ')) || parsed.get(key).is_some() {
                        return None;
                    }
                    parsed.entries.push((key.to_owned(), format!("{line}\n")));
                }
            }
        }
        Some(parsed)
    }

    /// Returns the text of an entry.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(known, _)| known == key).map(|(_, text)| text.as_str())
    }

    /// Returns the value of an entry that is a plain text on one line.
    pub(super) fn value(&self, key: &str) -> Option<String> {
        let (first, rest) = self.get(key)?.split_once('\n')?;
        let value = first.split_once(':')?.1.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.split_once(*quote));
        let text = match quoted {
            Some((text, after)) => {
                let after = after.trim_start();
                (after.is_empty() || after.starts_with('#')).then_some(text)?
            }
            None => value.split(" #").next()?.trim_end(),
        };
        let plain = quoted.is_some()
            || !text.starts_with(['[', '{', '|', '>', '&', '*', '!', '#', '"', '\'', '%', '@', '`']);
        let short = !text.is_empty() && text.chars().count() <= MAX_VALUE;
        let simple = !text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'));
        (rest.trim().is_empty() && plain && short && simple).then(|| text.to_owned())
    }

    /// Returns the items of an entry that is a list of texts.
    pub(super) fn items(&self, key: &str) -> Vec<String> {
        let Some((first, rest)) = self.get(key).and_then(|text| text.split_once('\n')) else {
            return Vec::new();
        };
        let value = first.split_once(':').map_or("", |(_, value)| value.trim());
        if let Ok(items) = serde_json::from_str(value) {
            return items;
        }
        let in_line = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
        let items: Vec<&str> = match in_line {
            Some(items) => items.split(',').collect(),
            None => rest.lines().filter_map(|line| line.trim_start().strip_prefix("- ")).collect(),
        };
        items.into_iter().map(item_text).filter(|item| !item.is_empty()).collect()
    }

    /// Returns the front matter with its two lines `---`.
    pub(super) fn text(&self) -> String {
        let entries: String = self.entries.iter().map(|(_, text)| text.as_str()).collect();
        format!("---\n{}{entries}---\n", self.comment)
    }
}

/// Returns the text of a list's item. It is plain or quoted, and a comment may follow.
fn item_text(item: &str) -> String {
    let item = item.trim();
    // Texts in double quotes are those of JSON, but for a few escapes that no tool writes.
    let mut json = serde_json::Deserializer::from_str(item).into_iter::<String>();
    if let Some(Ok(text)) = json.next()
        && item.get(json.byte_offset()..).is_some_and(is_comment)
    {
        return text;
    }
    let plain = || match is_comment(item) {
        true => String::new(),
        false => item.split(" #").next().unwrap_or_default().trim_end().to_owned(),
    };
    single_quoted(item).unwrap_or_else(plain)
}

/// Returns the text of an item in single quotes, in which a quote is written twice.
fn single_quoted(item: &str) -> Option<String> {
    let (mut text, mut rest) = (String::new(), item.strip_prefix('\'')?);
    loop {
        let (before, after) = rest.split_once('\'')?;
        text.push_str(before);
        match after.strip_prefix('\'') {
            Some(more) => rest = more,
            None => return is_comment(after).then_some(text),
        }
        text.push('\'');
    }
}

/// Returns true for the end of a line that holds no value.
fn is_comment(rest: &str) -> bool {
    rest.trim_start().is_empty() || rest.trim_start().starts_with('#')
}

/// License of a model, as its card says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct License {
    /// Identifier on the Hub, such as `apache-2.0`, or `other`.
    pub id: String,
    /// Name of a license that has no identifier.
    pub name: Option<String>,
    /// URL of its text.
    pub link: Option<String>,
}

/// The fields of a model's card that the card of a model trained from it takes over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CardOrigin {
    /// License of the model.
    pub license: Option<License>,
    /// Hub name of the model that the model was trained from.
    pub base_model: Option<String>,
}

impl CardOrigin {
    /// Reads a card. A field in an odd form counts as missing.
    pub fn read(card: &str) -> Self {
        let card = card.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let Some((front, _)) = FrontMatter::split(&card) else { return Self::default() };
        let identifier =
            |id: &String| id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
        // A file beside that card does not lie beside ours.
        let is_url = |link: &String| link.starts_with("https://") || link.starts_with("http://");
        let license = front.value("license").filter(identifier).map(|id| License {
            id,
            name: front.value("license_name"),
            link: front.value("license_link").filter(is_url),
        });
        let base_model = front.value("base_model").or_else(|| front.items("base_model").into_iter().next());
        Self { license, base_model }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: &str = "---\n# ours\nlicense: 'mit' # really\ntags:\n- a\n- \"b\"\nmodel-index:\n- name: x\n  results:\n  - task:\n      type: t\nbase_model: [a/b, c/d]\n---\n# Title\n";

    #[test]
    fn entries_are_kept_as_they_are() {
        let (front, rest) = FrontMatter::split(PAGE).unwrap();
        assert_eq!(rest, "# Title\n");
        assert_eq!(format!("{}{rest}", front.text()), PAGE);
        let keys: Vec<_> = front.entries.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["license", "tags", "model-index", "base_model"]);
        assert_eq!(front.items("tags"), ["a", "b"]);
        assert_eq!(front.value("tags"), None);
    }

    #[test]
    fn license_and_base_are_read_from_a_card() {
        let origin = CardOrigin::read(&format!("\u{feff}{}", PAGE.replace('\n', "\r\n")));
        assert_eq!(origin.base_model.as_deref(), Some("a/b"));
        assert_eq!(origin.license, Some(License { id: "mit".into(), name: None, link: None }));
        let other = "---\nlicense: other\nlicense_name: our license\nlicense_link: LICENSE.md\n---\n";
        let license = CardOrigin::read(other).license.unwrap();
        assert_eq!((license.name.as_deref(), license.link), (Some("our license"), None));
        for odd in [
            "",
            "# mine",
            "---\nlicense: [a]\n---\n",
            "---\nlicense: |\n  a\n---\n",
            "---\nlicense: \"a\nb\"\n---\n",
        ] {
            assert_eq!(CardOrigin::read(odd), CardOrigin::default(), "{odd}");
        }
    }

    #[test]
    fn items_are_read_in_every_quoting_and_written_as_they_were_read() {
        let items = |list: &str| FrontMatter::parse(&format!("tags:{list}\n")).unwrap().items("tags");
        let texts = ["a", "b \"c\" \\", "it's", "x#y", "\"open"];
        let listed =
            "\n- a # ours\n- \"b \\\"c\\\" \\\\\" # theirs\n- 'it''s' # it's\n- x#y\n- \"open\n- # nothing";
        assert_eq!(items(listed), texts);
        let written: String =
            texts.iter().map(|text| format!("\n- {}", serde_json::Value::from(*text))).collect();
        assert_eq!(items(&written), texts);
        assert_eq!(items(" [a, 'b']"), ["a", "b"]);
        assert_eq!(items(r#" ["a, b", "c"]"#), ["a, b", "c"]);
    }

    #[test]
    fn other_forms_are_not_understood() {
        for page in [
            "---\n{a: 1}\n---\n",
            "---\n? a\n---\n",
            "---\na: 1\na: 2\n---\n",
            "---\na:1\n---\n",
            "---\n- a\n---\n",
            "---\na: 1\n",
            "---\na: 1\n---\r\n---\n",
        ] {
            assert_eq!(FrontMatter::split(page), None, "{page}");
        }
    }

    proptest! {
        #[test]
        fn no_page_makes_reading_panic(page in "(---\n)?[-a-c:#\" \n\\[\\]]{0,60}(\n---\n)?.{0,10}") {
            if let Some((front, rest)) = FrontMatter::split(&page) {
                let again = format!("{}{rest}", front.text());
                prop_assert_eq!(again.trim_end(), page.trim_end());
            }
            let _ = CardOrigin::read(&page);
        }
    }
}
