//! The place of a model in a folder from outside, such as an unpacked zip.

use std::fs;
use std::path::{Path, PathBuf};

use super::ModelError;
use super::weights::WEIGHT_FILES;

/// Largest number of folders around the model.
const MAX_DEPTH: usize = 4;

/// Returns the model folder in `root`: `root` itself, or the only one with the fewest folders around
/// it.
///
/// # Errors
/// [`ModelError::Unsupported`] when there is no model or when several are equally near,
/// [`ModelError::File`] when a folder can't be read.
pub fn find_model(root: &Path) -> Result<PathBuf, ModelError> {
    let mut level = vec![root.to_owned()];
    for _ in 0..=MAX_DEPTH {
        let models: Vec<&PathBuf> = level.iter().filter(|folder| is_model(folder)).collect();
        match models.as_slice() {
            [] => {}
            [model] => return Ok((*model).clone()),
            [one, other, ..] => {
                let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
                return Err(unsupported(format!(
                    "several models, such as {} and {}",
                    name(one),
                    name(other)
                )));
            }
        }
        let mut below = Vec::new();
        for folder in &level {
            let failed = |source| ModelError::File { action: "read", path: folder.clone(), source };
            for entry in fs::read_dir(folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if entry.file_type().map_err(failed)?.is_dir() {
                    below.push(entry.path());
                }
            }
        }
        below.sort();
        level = below;
    }
    Err(unsupported("files without a modules.json, and without a config.json beside weights".to_owned()))
}

fn unsupported(found: String) -> ModelError {
    ModelError::Unsupported { what: "folder", found, supported: "one sentence-transformers model" }
}

/// Returns true for a folder that `SentenceTransformer(path)` takes for a model.
fn is_model(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    has("modules.json") || (has("config.json") && WEIGHT_FILES.iter().any(|name| has(name)))
}
