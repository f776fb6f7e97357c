//! Paths to the files that `scripts/setup` installed for the tests.

use std::path::PathBuf;

/// Returns a path below the workspace's `.local/`. Panics with the command to run when it is
/// missing.
#[track_caller]
fn local(path: &str) -> PathBuf {
    let full = workspace().join(".local").join(path);
    assert!(full.exists(), "{} is missing: run scripts/setup first", full.display());
    full
}

/// Returns the root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the path of the ONNX Runtime library: `ORT_DYLIB_PATH`, for example a build for GPUs, or
/// the library that `scripts/setup` installed.
#[track_caller]
pub(crate) fn onnxruntime() -> PathBuf {
    std::env::var_os("ORT_DYLIB_PATH").map_or_else(|| local("lib/libonnxruntime.so"), PathBuf::from)
}

/// Returns the all-MiniLM-L6-v2 folder that `scripts/setup` installed.
#[track_caller]
pub(crate) fn minilm() -> PathBuf {
    local("models/all-MiniLM-L6-v2")
}

/// Returns the Python, with the official `onnx` package, that `scripts/setup --tests` installed.
#[track_caller]
pub(crate) fn python() -> PathBuf {
    local("python/bin/python")
}
