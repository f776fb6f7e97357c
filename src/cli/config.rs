//! Settings of a command, and the file that `--config` names.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::settings::{FILE as USUAL, Needs, Settings, SettingsError};

/// The file that `--config` names. It holds for the whole process, as the environment does.
static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Has every later reading of the settings read this file.
pub(super) fn use_file(file: PathBuf) {
    // The command line is parsed once.
    let _ = FILE.set(file);
}

/// Returns the settings file: the one that `--config` names, or the usual one if it is there.
pub(super) fn file() -> Option<&'static Path> {
    let usual = Path::new(USUAL);
    FILE.get().map(PathBuf::as_path).or_else(|| usual.exists().then_some(usual))
}

/// Reads the settings of this process.
///
/// # Errors
/// [`SettingsError`] with every problem.
pub(super) fn settings(needs: Needs) -> Result<Settings, SettingsError> {
    settings_with(needs, &|_| None)
}

/// Reads the settings of this process, with the values of arguments in place of its environment.
///
/// # Errors
/// [`SettingsError`] with every problem.
pub(super) fn settings_with(
    needs: Needs,
    arguments: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, SettingsError> {
    Settings::from_process(needs, arguments, file())
}
