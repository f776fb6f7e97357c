//! Reader of the environment and of `autovalidate.toml`, which collects every problem it finds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use autovalidate_finetune::train::ranges::Range;
use secrecy::{ExposeSecret, SecretString};

use super::durations::DurationRange;
use super::shown::{Effective, Problem, SettingSource};
use crate::redaction::{HIDDEN, SHORTEST_SECRET, is_key, quote, redact, redact_value};

/// Length of the shortest secret that an operator may choose, in characters.
const SHORTEST_CHOSEN: usize = 16;

/// Reader of settings. A setting `NAME` is the environment variable `NAME` or the key `name` of the
/// file; the environment wins. An empty variable counts as not set, because container platforms
/// can't unset one. Bytes of the environment that are not UTF-8 arrive as U+FFFD.
pub(super) struct SettingsReader<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    file: toml::Table,
    pub(super) known: Vec<String>,
    secrets: Vec<SecretString>,
    /// Settings that hold a key, but are not meant to.
    misplaced: Vec<&'static str>,
    pub(super) problems: Vec<Problem>,
    pub(super) effective: Vec<Effective>,
}

impl<'a> SettingsReader<'a> {
    /// Creates a reader, and reads the settings file if there is one.
    pub(super) fn new(environment: &'a dyn Fn(&str) -> Option<String>, file: Option<&Path>) -> Self {
        let mut reader = Self {
            environment,
            file: toml::Table::new(),
            known: Vec::new(),
            secrets: Vec::new(),
            misplaced: Vec::new(),
            problems: Vec::new(),
            effective: Vec::new(),
        };
        if let Some(path) = file {
            let shown = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => match text.parse::<toml::Table>() {
                    Ok(table) => reader.file = table,
                    Err(error) => reader.problem(&shown, not_toml(&text, &error)),
                },
                Err(error) => reader.problem(&shown, format!("can't be read: {error}")),
            }
        }
        reader
    }

    pub(super) fn problem(&mut self, setting: &str, problem: impl AsRef<str>) {
        let problem = redact(problem.as_ref()).into_owned();
        self.problems.push(Problem { setting: redact_value(setting), problem });
    }

    /// Reports a value that is not as `expected`. The message quotes the value without its secrets.
    pub(super) fn refuse(&mut self, setting: &str, value: &str, expected: impl fmt::Display) {
        self.problem(setting, format!("is {}; it must be {expected}", quote(value)));
    }

    /// Keeps a secret that is part of another setting from being shown.
    pub(super) fn hide(&mut self, secret: SecretString) {
        self.secrets.push(secret);
    }

    /// Returns the text of a setting with its source, if it is set. The caller notes the value in force.
    pub(super) fn look_up(&mut self, name: &'static str) -> Option<(String, SettingSource)> {
        let key = name.to_ascii_lowercase();
        let of_file = self.file.get(&key).cloned();
        self.known.push(key);
        if let Some(value) = self.variable(name) {
            if value.contains(char::REPLACEMENT_CHARACTER) {
                self.problem(name, "is not UTF-8");
                return None;
            }
            return Some((value.trim().to_owned(), SettingSource::Environment));
        }
        match of_file? {
            toml::Value::String(text) => Some((text, SettingSource::File)),
            toml::Value::Integer(number) => Some((number.to_string(), SettingSource::File)),
            toml::Value::Float(number) => Some((number.to_string(), SettingSource::File)),
            toml::Value::Boolean(flag) => Some((flag.to_string(), SettingSource::File)),
            _ => {
                self.problem(name, "must be a single value in autovalidate.toml");
                None
            }
        }
    }

    /// Returns true when the environment or the file has a value for this setting.
    pub(super) fn is_set(&self, name: &'static str) -> bool {
        self.variable(name).is_some() || self.file.contains_key(&name.to_ascii_lowercase())
    }

    /// Returns a variable of the environment. One that the platform sets for each machine is read by
    /// this alone, because it is not a setting.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.trim().is_empty())
    }

    /// Notes the value in force of a setting.
    pub(super) fn note(&mut self, setting: &'static str, value: impl AsRef<str>, origin: SettingSource) {
        if is_key(value.as_ref()) {
            self.misplaced.push(setting);
        }
        self.effective.push(Effective { setting, value: Some(redact_value(value.as_ref())), origin });
    }

    /// Notes a setting that is not set and has no default.
    fn note_unset(&mut self, setting: &'static str) {
        self.effective.push(Effective { setting, value: None, origin: SettingSource::Default });
    }

    /// Notes the value in force of a setting that the file may hold as the table `key`.
    pub(super) fn note_table(&mut self, setting: &'static str, key: &str, value: impl AsRef<str>) {
        let in_file = self.file.contains_key(key);
        self.note(setting, value, if in_file { SettingSource::File } else { SettingSource::Default });
    }

    /// Notes a variable that other code reads from the environment alone, so that it is shown with the
    /// settings.
    pub(super) fn note_variable(&mut self, name: &'static str) {
        match self.variable(name) {
            Some(value) => self.note(name, value, SettingSource::Environment),
            None => self.note_unset(name),
        }
    }

    /// Returns a setting as text, if it is set.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        match self.look_up(name) {
            Some((value, origin)) => {
                self.note(name, &value, origin);
                Some(value)
            }
            None => {
                self.note_unset(name);
                None
            }
        }
    }

    /// Returns a setting as text, or `default` when it is not set.
    pub(super) fn text_or(&mut self, name: &'static str, default: &str) -> String {
        let (value, origin) =
            self.look_up(name).unwrap_or_else(|| (default.to_owned(), SettingSource::Default));
        self.note(name, &value, origin);
        value
    }

    /// Returns a setting that `parse` takes, or what it makes of `default` when the setting is not set.
    /// Any other value is a problem, whose message names `expected`.
    pub(super) fn choice<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        default: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text_or(name, default);
        let parsed = parse(&text);
        if parsed.is_none() {
            self.refuse(name, &text, expected);
        }
        parsed
    }

    /// Returns a setting that `parse` takes, if it is set. Any other value is a problem, whose message
    /// names `expected`.
    pub(super) fn parse_if_set<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.refuse(name, &text, expected);
        }
        parsed
    }

    /// Returns a secret, if it is set.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        let Some((value, origin)) = self.look_up(name) else {
            self.note_unset(name);
            return None;
        };
        self.note(name, HIDDEN, origin);
        let secret = SecretString::from(value);
        self.hide(secret.clone());
        Some(secret)
    }

    /// Reports a secret that the operator has chosen and that somebody could guess. Secrets of a service
    /// have the length that the service gives them.
    pub(super) fn check_length(&mut self, name: &'static str, secret: Option<&SecretString>) {
        if secret.is_some_and(|secret| secret.expose_secret().chars().count() < SHORTEST_CHOSEN) {
            let problem = format!(
                "has fewer than {SHORTEST_CHOSEN} characters; set it to a random text, such as `openssl rand -hex 32` prints"
            );
            self.problem(name, problem);
        }
    }

    /// Returns a secret that the operator chooses, if it is set. One that somebody could guess is a problem.
    pub(super) fn own_secret(&mut self, name: &'static str) -> Option<SecretString> {
        let secret = self.secret(name);
        self.check_length(name, secret.as_ref());
        secret
    }

    /// Returns a path, if it is set.
    pub(super) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// Returns a path, if it is set. A path that doesn't exist is a problem.
    pub(super) fn existing_path(&mut self, name: &'static str) -> Option<PathBuf> {
        let path = self.path(name)?;
        if !path.exists() {
            self.problem(name, format!("is {}, which doesn't exist", quote(&path.display().to_string())));
        }
        Some(path)
    }

    /// Returns a number, which must be in `range`, or `default` when it is not set.
    pub(super) fn number<T: FromStr + fmt::Display + PartialOrd>(
        &mut self,
        name: &'static str,
        range: &Range<T>,
        default: T,
    ) -> T {
        self.parse_or(name, &range.to_string(), default, |value| range.contains(value))
    }

    /// Returns a setting of any type that parses, or `default` when it is not set. A value that
    /// doesn't parse or that `accept` refuses is a problem, whose message names `expected`.
    pub(super) fn parse_or<T: FromStr + fmt::Display>(
        &mut self,
        name: &'static str,
        expected: &str,
        default: T,
        accept: impl Fn(&T) -> bool,
    ) -> T {
        let Some((value, origin)) = self.look_up(name) else {
            self.note(name, default.to_string(), SettingSource::Default);
            return default;
        };
        match value.parse::<T>() {
            Ok(parsed) if accept(&parsed) => {
                self.note(name, value, origin);
                parsed
            }
            _ => {
                self.refuse(name, &value, expected);
                default
            }
        }
    }

    /// Returns a duration such as `15m` or `2h 30m`: `None` for `0` and `off`, `default` when it is
    /// not set.
    pub(super) fn duration(&mut self, range: &DurationRange, default: Option<Duration>) -> Option<Duration> {
        let name = range.setting;
        let Some((value, origin)) = self.look_up(name) else {
            let shown = default.map_or("off".to_owned(), |default| format!("{default:?}"));
            self.note(name, shown, SettingSource::Default);
            return default;
        };
        if value == "off" || value == "0" {
            self.note(name, "off", origin);
            return None;
        }
        let parsed =
            value.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        match parsed {
            Some(duration) if range.contains(duration) => {
                self.note(name, value, origin);
                Some(duration)
            }
            _ => {
                let expected = format!("a duration {range}, such as 90s, 15m or 2h 30m, or off");
                self.refuse(name, &value, expected);
                default
            }
        }
    }

    /// Returns a table of texts from the file, such as `[templates]`.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Vec<(String, String)>> {
        self.known.push(key.to_owned());
        let value = self.file.get(key)?.clone();
        let toml::Value::Table(table) = value else {
            self.problem(key, "must be a table in autovalidate.toml");
            return None;
        };
        let mut entries = Vec::new();
        for (name, value) in table {
            match value {
                toml::Value::String(text) => entries.push((name, text)),
                _ => self.problem(&format!("{key}.{name}"), "must be a text"),
            }
        }
        Some(entries)
    }

    /// Reports keys of the file that name no setting, most of which are misspelled, and keys of a
    /// service in settings that are not secret. Then removes from everything that will be shown what
    /// is a secret elsewhere in the settings.
    pub(super) fn finish(&mut self) {
        let unknown: Vec<String> =
            self.file.keys().filter(|key| !self.known.contains(key)).cloned().collect();
        for key in unknown {
            self.problem(&key, "in autovalidate.toml is not a setting");
        }
        for name in std::mem::take(&mut self.misplaced) {
            if !self.problems.iter().any(|problem| problem.setting == name) {
                self.problem(name, "holds a key or token of a service, which belongs into another setting");
            }
        }
        let secrets: Vec<&str> = self.secrets.iter().map(ExposeSecret::expose_secret).collect();
        let shown = self.effective.iter_mut().filter_map(|each| each.value.as_mut());
        // A key of the file may be a secret, too.
        let problems = self.problems.iter_mut().flat_map(|each| [&mut each.setting, &mut each.problem]);
        for text in shown.chain(problems) {
            for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
                // A quoted value has its special characters escaped.
                let quoted = format!("{secret:?}");
                for form in [*secret, &quoted[1..quoted.len() - 1]] {
                    *text = text.replace(form, HIDDEN);
                }
            }
        }
    }
}

/// Describes a mistake in the settings file by its line and column. The line itself may hold a secret.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().and_then(|span| text.get(..span.start)).map(|before| {
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        format!(" at line {line}, column {column}")
    });
    format!("is not TOML{}: {}", place.unwrap_or_default(), error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_a_key_of_the_file_is_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "my_open_sesame = 1\n").unwrap();
        let environment = |name: &str| (name == "WEBHOOK_SECRET").then(|| "open_sesame".to_owned());
        let mut reader = SettingsReader::new(&environment, Some(file.path()));
        reader.secret("WEBHOOK_SECRET");
        reader.finish();
        let problems: Vec<String> = reader.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["my_*** in autovalidate.toml is not a setting"]);
    }
}
