//! Names of the files in a model folder: those that a saved copy has, and those that it leaves behind.
//!
//! A folder may come from anybody. The library imports Python files that lie in a model folder, so a
//! copy has only the files on this list, and no file is copied because nothing forbids it.

use std::fs;
use std::path::Path;

use super::library_config::LIBRARY;
use super::modules::MODULES;
use super::sentence_config;
use super::tokenizer::TOKENIZER_CONFIG;
use super::weights::{WEIGHT_FILES, holds_weights, is_pickled};

/// Settings of a module: the encoder and the modules after it.
pub(super) const CONFIG: &str = "config.json";

/// Files of the tokenizer, in the forms that transformers knows.
const TOKENIZER: [&str; 11] = [
    "tokenizer.json",
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "unigram.json",
];

/// Terms of use, which copies have to carry along.
const LICENSES: [&str; 6] = ["LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt", "NOTICE.md"];

/// Files and folders that are no part of a model and lie beside many: descriptions of the old weights,
/// and files of the folder's repository.
const BESIDE: [&str; 5] = ["README.md", "receipt.json", "training_report.json", "onnx", "openvino"];

/// Returns true for a file of the model folder itself that a copy has.
pub(super) fn is_of_model(name: &str) -> bool {
    [MODULES, LIBRARY].contains(&name) || LICENSES.contains(&name)
}

/// Returns true for a file of the encoder's folder that a copy has.
pub(super) fn is_of_encoder(name: &str) -> bool {
    name == CONFIG || sentence_config::NAMES.contains(&name) || TOKENIZER.contains(&name)
}

/// Returns true for a file that holds weights of the encoder, or names those that do.
pub(super) fn is_of_weights(name: &str) -> bool {
    let is_shard = name.starts_with("model-") && name.ends_with(".safetensors") && !name.contains('/');
    WEIGHT_FILES.contains(&name) || is_shard || is_pickled(name)
}

/// Returns true for a file that many model folders have and that nobody needs to hear of.
pub(super) fn is_usual(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with('.') || BESIDE.contains(&name) || holds_weights(name))
}

/// Largest number of names that are read of a folder: those of the largest zip that is unpacked, with all
/// their folders.
const MOST_READ: usize = 200_000;
/// Largest number of folders around a file that is named.
const DEEPEST: usize = 16;

/// Returns the paths below `folder` that are not `listed`, in order: files, links, and whatever else is
/// no folder. A folder that can't be read counts as empty.
pub(super) fn unlisted(folder: &Path, listed: &dyn Fn(&str) -> bool) -> Vec<String> {
    let (mut found, mut left) = (Vec::new(), MOST_READ);
    collect(folder, "", DEEPEST, &mut left, &mut found, listed);
    found.sort();
    found
}

fn collect(
    folder: &Path,
    below: &str,
    depth: usize,
    left: &mut usize,
    found: &mut Vec<String>,
    listed: &dyn Fn(&str) -> bool,
) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(still) = left.checked_sub(1) else { return };
        *left = still;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => {
                collect(&entry.path(), &path, depth - 1, left, found, listed);
            }
            Ok(_) if !listed(&path) => found.push(path),
            _ => {}
        }
    }
}
