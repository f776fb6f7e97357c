//! The file `.env` of a new installation: every setting that matters, with a comment each.
//!
//! Shells, Docker, Compose, systemd and Fly.io read such files by rules of their own, which agree on
//! values without quotes and without characters that any of them treats specially. So the file has only
//! such values, and comments only on lines of their own.

use std::collections::BTreeMap;

use crate::ingest::{DEFAULT_SCHEMA, DEFAULT_TABLE};

/// Name of the file.
pub(super) const NAME: &str = ".env";

/// Values of settings by name.
pub(super) type Values = BTreeMap<String, String>;

const HEAD: &str = "\
# Settings of the AutoValidate trainer. This file holds keys: keep it private, and out of Git.
# One NAME=value a line, without quotes and spaces, so that shells, Docker, systemd and Fly.io read the same.
# A setting that is empty, or behind `#`, is not set. `autovalidate worker --print-config` shows all settings.
";

/// A setting of the file.
struct Entry {
    name: &'static str,
    comment: &'static str,
    /// Value that is written behind `#` when nothing is known: the program's default.
    otherwise: Otherwise,
    /// True when the value may be shown.
    is_public: bool,
}

/// Form of a setting without a known value.
enum Otherwise {
    /// The setting is needed: its line waits for a value.
    Empty,
    /// The setting is behind `#`, with the program's default.
    Default(&'static str),
}

const fn needed(name: &'static str, comment: &'static str) -> Entry {
    Entry { name, comment, otherwise: Otherwise::Empty, is_public: false }
}

const fn optional(name: &'static str, default: &'static str, comment: &'static str) -> Entry {
    Entry { name, comment, otherwise: Otherwise::Default(default), is_public: true }
}

impl Entry {
    const fn public(self) -> Self {
        Self { is_public: true, ..self }
    }

    const fn secret(self) -> Self {
        Self { is_public: false, ..self }
    }
}

const SERVICE_KEY: &str = "SUPABASE_SERVICE_KEY";
const ANON_KEY: &str = "SUPABASE_ANON_KEY";

/// Sections of the file.
const SECTIONS: [(&str, &[Entry]); 5] = [
    (
        "Supabase: the table of corrections",
        &[
            needed("SUPABASE_URL", "URL of the project, https://<project>.supabase.co").public(),
            needed(
                SERVICE_KEY,
                "Secret key (sb_secret_...) or service_role key: Project Settings > API Keys.",
            ),
            needed(
                ANON_KEY,
                "Publishable key (sb_publishable_...) or anon key: Project Settings > API Keys.",
            ),
            optional("SUPABASE_SCHEMA", DEFAULT_SCHEMA, "Schema of the table."),
            optional("SUPABASE_TABLE", DEFAULT_TABLE, "Name of the table."),
            optional(
                "CATALOG",
                "",
                "File or table of the names that a correction must be among, such as table:cars",
            ),
        ],
    ),
    (
        "Hugging Face Hub: the models",
        &[
            needed("HF_TOKEN", "Token with write access: https://huggingface.co/settings/tokens"),
            needed("HF_REPO", "Model repository, owner/name. The first release creates it as private.")
                .public(),
            optional(
                "BASE_MODEL",
                "sentence-transformers/all-MiniLM-L6-v2",
                "Model that the first training starts from: a name on the Hub, or a folder.",
            ),
        ],
    ),
    (
        "Secrets of this installation",
        &[
            needed(
                "WEBHOOK_SECRET",
                "Shown by the database's webhook in the header x-webhook-secret; random.",
            ),
            needed("CONSOLE_TOKEN", "Shown by visitors of the console at HTTP_ADDR to log in; random."),
        ],
    ),
    (
        "When a training starts, and who is told",
        &[
            optional("TRAIN_THRESHOLD", "100", "This many new pairs start a training."),
            optional("TRAIN_MAX_WAIT", "168h", "Fewer pairs start one when the oldest has waited this long."),
            optional(
                "ALERT_URL",
                "",
                "Gets a POST when a model is published or kept back, and when a run fails.",
            )
            .secret(),
            optional("ALERT_FORMAT", "json", "Form of these alerts: json or slack."),
            optional("CONSOLE_URL", "", "Address of the worker's HTTP server for people; alerts link to it."),
        ],
    ),
    (
        "The machine. The image and fly.toml set what is theirs",
        &[
            optional("NATS_URL", "embedded", "The broker: embedded, or nats://user:password@host:4222")
                .secret(),
            optional(
                "NATS_SERVER",
                "",
                "Program of the embedded broker; the nats-server on PATH when not set.",
            ),
            optional("ORT_DYLIB_PATH", "libonnxruntime.so", "ONNX Runtime library."),
            optional("DATA_DIR", "data", "Folder for all state; keep it on a disk that stays."),
            optional("HTTP_ADDR", "0.0.0.0:8080", "Address of console, health, metrics and webhook."),
            optional("TRAIN_THREADS", "", "Threads to train with; all cores when not set."),
        ],
    ),
];

/// Returns the entries of the file for a worker that reads the table with this key.
fn entries(public_read: bool) -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static Entry>)> {
    let other_key = if public_read { SERVICE_KEY } else { ANON_KEY };
    SECTIONS
        .iter()
        .map(move |(title, entries)| (*title, entries.iter().filter(move |entry| entry.name != other_key)))
}

/// Returns the text of the file. Values that are not known are left empty if the worker needs them, else
/// they are behind `#` with the program's default.
pub(super) fn text(values: &Values, public_read: bool) -> String {
    let mut text = HEAD.to_owned();
    for (title, entries) in entries(public_read) {
        text += &format!("\n# --- {title} ---\n");
        for entry in entries {
            let value = values.get(entry.name).map(String::as_str);
            let line = match (&entry.otherwise, value) {
                (Otherwise::Default(default), None) => format!("#{}={default}", entry.name),
                (Otherwise::Default(_) | Otherwise::Empty, value) => {
                    format!("{}={}", entry.name, value.unwrap_or_default())
                }
            };
            text += &format!("# {}\n{line}\n", entry.comment);
        }
    }
    text
}

/// Returns the names of the settings that a worker needs and that have no value.
pub(super) fn missing(values: &Values, public_read: bool) -> Vec<&'static str> {
    let needed = entries(public_read).flat_map(|(_, entries)| entries);
    let needed = needed.filter(|entry| matches!(entry.otherwise, Otherwise::Empty));
    needed.map(|entry| entry.name).filter(|name| !values.contains_key(*name)).collect()
}

/// Returns the names of all settings that the file may have.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().flat_map(|(_, entries)| entries.iter()).map(|entry| entry.name)
}

/// Returns true for a value that every reader of the file reads as it is written.
pub(super) fn is_plain(value: &str) -> bool {
    value.chars().all(|c| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '@' | '%' | '+' | ',' | '=')
    })
}

/// Reads the values of a file that is there. Quotes around a value, and a word `export` before a name,
/// are the operator's.
pub(super) fn parse(text: &str) -> Values {
    let lines = text.lines().filter_map(|line| assignment(line.trim_start()));
    let values = lines.map(|(name, value)| {
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        (name.to_owned(), quoted.unwrap_or(value).to_owned())
    });
    values.filter(|(_, value)| !value.is_empty()).collect()
}

/// Returns name and value of a line that sets something.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((name, value))
}

/// Returns a line as it may be shown: a value may be a key unless its setting is known to be none.
pub(super) fn without_keys(line: &str) -> String {
    let bare = line.trim_start().trim_start_matches(['#', ' ']);
    match assignment(bare) {
        Some((name, value)) if !is_public(name) && !value.trim().is_empty() => format!("{name}=***"),
        _ => crate::redaction::redact(line).into_owned(),
    }
}

fn is_public(name: &str) -> bool {
    SECTIONS.iter().flat_map(|(_, entries)| entries.iter()).any(|entry| entry.is_public && entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_back_and_no_key_is_shown() {
        let secret = "0123456789abcdef0123456789abcdef";
        let values: Values = names().map(|name| (name.to_owned(), secret.to_owned())).collect();
        for (public_read, left_out) in [(false, ANON_KEY), (true, SERVICE_KEY)] {
            let mut expected = values.clone();
            expected.remove(left_out);
            assert_eq!(parse(&text(&values, public_read)), expected);
        }
        for line in ["HF_TOKEN=hf_x", "export OTHER='x y'", "# WEBHOOK_SECRET=x", "  #ALERT_URL=https://x"] {
            assert!(without_keys(line).ends_with("=***"), "{line}");
        }
        assert_eq!(without_keys("HF_REPO=owner/name"), "HF_REPO=owner/name");
        assert_eq!(without_keys("# a comment"), "# a comment");
    }

    #[test]
    fn without_answers_only_what_is_needed_waits_for_a_value() {
        let empty = text(&Values::new(), false);
        assert!(parse(&empty).is_empty());
        assert!(empty.contains("\nHF_TOKEN=\n") && empty.contains("\n#TRAIN_THRESHOLD=100\n"), "{empty}");
        let needed = ["SUPABASE_URL", SERVICE_KEY, "HF_TOKEN", "HF_REPO", "WEBHOOK_SECRET", "CONSOLE_TOKEN"];
        assert_eq!(missing(&Values::new(), false), needed);
    }

    #[test]
    fn quotes_of_the_operator_are_read_and_special_characters_are_not_plain() {
        let file = "A=1\nexport B='two words'\n# C=3\nD=\"4\"\nE=\n F = 6\nno line\n";
        let read = parse(file);
        assert_eq!(read.keys().collect::<Vec<_>>(), ["A", "B", "D"]);
        assert_eq!((read["B"].as_str(), read["D"].as_str()), ("two words", "4"));
        for special in
            ["a b", "a$b", "a#b", "a'b", "a\"b", "a\\b", "a`b", "~/a", "a\nb", "a;b", "a&b", "a!b", "a*b"]
        {
            assert!(!is_plain(special), "{special:?}");
        }
        assert!(is_plain("https://project.supabase.co") && is_plain("eyJhbGciOi.J9-_.x="));
    }
}
