//! The visible side of the settings: problems, and every setting with its value in force.

use std::fmt;

/// A problem with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name in the environment.
    pub setting: String,
    /// The mistake, and the values that are allowed.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.setting, self.problem)
    }
}

/// Source of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, serde::Serialize)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum SettingSource {
    /// An environment variable.
    Environment,
    /// The settings file.
    #[strum(serialize = "autovalidate.toml")]
    #[serde(rename = "autovalidate.toml")]
    File,
    /// The program's default.
    Default,
}

/// One setting in force. A secret shows as `***`, also inside another setting's value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Effective {
    /// The setting's name in the environment.
    pub setting: &'static str,
    /// The value as text; `None` for a setting that is not set and has no default.
    pub value: Option<String>,
    /// Source of the value.
    pub origin: SettingSource,
}

impl fmt::Display for Effective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, value, origin } = self;
        match value {
            Some(value) => write!(formatter, "{setting} = {value}  ({origin})"),
            None => write!(formatter, "{setting} is not set"),
        }
    }
}
