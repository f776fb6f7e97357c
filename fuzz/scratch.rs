//! Files of one input, for functions that read files.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Returns the folder of this process below `TMPDIR`. `scripts/fuzz` puts that into memory, and removes it.
pub(crate) fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| tempfile::tempdir().expect("a folder").keep())
}

/// Returns an empty folder, which lives as long as the input.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(home()).expect("a folder")
}

/// Writes an input into a file of the process, in place of the input before.
pub(crate) fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = home().join(name);
    std::fs::write(&path, content).expect("a file");
    path
}
