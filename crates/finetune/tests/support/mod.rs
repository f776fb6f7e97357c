//! Paths to what `scripts/setup` installed for the tests.

use std::path::PathBuf;

/// A path below the workspace's `.local/`. Fails with the command to run when it is not there.
#[track_caller]
fn local(path: &str) -> PathBuf {
    let full = workspace().join(".local").join(path);
    assert!(full.exists(), "{} is missing: run scripts/setup first", full.display());
    full
}

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The ONNX Runtime library: `ORT_DYLIB_PATH`, such as one for GPUs, or the one that `scripts/setup` installed.
#[track_caller]
pub(crate) fn onnxruntime() -> PathBuf {
    std::env::var_os("ORT_DYLIB_PATH").map_or_else(|| local("lib/libonnxruntime.so"), PathBuf::from)
}

/// The all-MiniLM-L6-v2 folder that `scripts/setup` installed.
#[track_caller]
pub(crate) fn minilm() -> PathBuf {
    local("models/all-MiniLM-L6-v2")
}

/// The Python with the official `onnx` package that `scripts/setup --tests` installed.
#[track_caller]
pub(crate) fn python() -> PathBuf {
    local("python/bin/python")
}
