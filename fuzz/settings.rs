//! Environment and settings file.

use std::collections::BTreeMap;

use autovalidate::settings::{Needs, Settings};

use crate::scratch;

/// Secret that is always set, and that no output may show, wherever else it was pasted.
const SECRET: &str = "sb_secret_0123456789abcdef";

/// Reads settings: a line `NAME=value` each for the environment, an empty line, and then the file.
pub(crate) fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (environment, file) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut variables: BTreeMap<&str, &str> =
        environment.lines().filter_map(|line| line.split_once('=')).collect();
    variables.insert("SUPABASE_SERVICE_KEY", SECRET);
    let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let file = scratch::file("autovalidate.toml", file.as_bytes());
    let needs =
        Needs { supabase: text.len().is_multiple_of(2), hub: text.len().is_multiple_of(3), runtime: false };
    match Settings::read(&variable, Some(&file), needs) {
        Ok(settings) => {
            for shown in &settings.effective {
                let value = shown.value.as_deref().unwrap_or_default();
                assert!(!value.contains(SECRET), "{} shows the secret", shown.setting);
            }
        }
        Err(error) => assert!(!error.to_string().contains(SECRET), "{error}"),
    }
}
