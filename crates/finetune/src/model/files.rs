//! Reading of a model folder's small files, with a bound on their size.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ModelError;

/// Size in bytes of the largest description that is read. Real ones have a few kilobytes; some
/// tokenizer settings list thousands of added tokens.
const MOST: u64 = 16 << 20;

/// Reads a file of the folder.
pub(super) fn read(folder: &Path, name: &str) -> Result<Vec<u8>, ModelError> {
    read_within(&folder.join(name), MOST)
}

/// Reads a file of at most this many bytes.
pub(super) fn read_within(path: &Path, most: u64) -> Result<Vec<u8>, ModelError> {
    let failed = |source| ModelError::File { action: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    open(path)?.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

/// Opens a file of the folder. A pipe in its place would block until somebody writes into it, and a
/// device has no end.
pub(super) fn open(path: &Path) -> Result<File, ModelError> {
    let failed = |source| ModelError::File { action: "read", path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        let problem = "it is not a regular file";
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidData, problem)));
    }
    File::open(path).map_err(failed)
}

/// Parses a JSON file of the folder.
pub(super) fn json<T: for<'de> Deserialize<'de>>(bytes: &[u8], file: &'static str) -> Result<T, ModelError> {
    serde_json::from_slice(bytes).map_err(|source| ModelError::Config { file, source })
}

/// Reads a JSON object that may be absent. Absent and empty differ only for the caller.
pub(super) fn object(folder: &Path, name: &'static str) -> Result<Option<Map<String, Value>>, ModelError> {
    match read(folder, name) {
        Ok(bytes) => Ok(Some(json(&bytes, name)?)),
        Err(ModelError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the error of a property that this crate doesn't compute as the library does.
pub(super) fn unsupported<T>(
    what: &'static str,
    found: impl Into<String>,
    supported: &'static str,
) -> Result<T, ModelError> {
    Err(ModelError::Unsupported { what, found: found.into(), supported })
}

/// Returns a JSON value as an error message shows it: shortened and without control characters, because
/// it comes from outside.
pub(super) fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = text.replace(char::is_control, " ");
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
