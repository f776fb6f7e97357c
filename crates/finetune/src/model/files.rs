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
    let path = folder.join(name);
    let mut bytes = Vec::new();
    let failed = |source| ModelError::File { action: "read", path: path.clone(), source };
    File::open(&path).map_err(failed)?.take(MOST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
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

/// Returns a JSON value as an error message shows it: shortened, because it comes from outside.
pub(super) fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
