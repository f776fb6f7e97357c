//! The settings of a whole model: `config_sentence_transformers.json`.

use std::path::Path;

use serde_json::Value;

use super::ModelError;
use super::files::{object, shown, unsupported};
use super::folder::Head;

/// Name of the file.
pub(super) const LIBRARY: &str = "config_sentence_transformers.json";

/// Settings of a whole model.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LibraryConfig {
    /// Text that `encode` puts in front of each text.
    pub(super) prompt: String,
    /// Number of columns that `encode` keeps of each embedding.
    pub(super) dimension: Option<usize>,
}

impl LibraryConfig {
    /// Reads and checks the file, which may be absent.
    pub(super) fn read(folder: &Path, head: Head) -> Result<Self, ModelError> {
        let Some(file) = object(folder, LIBRARY)? else { return Ok(Self::default()) };
        match file.get("model_type") {
            None => {}
            Some(Value::String(kind)) if kind == "SentenceTransformer" => {}
            Some(other) => {
                return unsupported(
                    "model_type in config_sentence_transformers.json",
                    shown(other),
                    "SentenceTransformer",
                );
            }
        }
        match file.get("similarity_fn_name") {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if name == "cosine" => {}
            // Embeddings of unit length have the same order by dot product and distance as by cosine.
            Some(Value::String(name)) if head.normalize && ["dot", "euclidean"].contains(&name.as_str()) => {}
            Some(other) => {
                return unsupported(
                    "similarity function",
                    shown(other),
                    "cosine; dot or euclidean with Normalize",
                );
            }
        }
        let prompt = match file.get("default_prompt_name") {
            None | Some(Value::Null) => String::new(),
            Some(name) => {
                let prompt = name.as_str().and_then(|name| file.get("prompts")?.get(name)?.as_str());
                // Every version of the library has a query and a document prompt, which may be empty.
                match (prompt, name.as_str()) {
                    (Some(prompt), _) => prompt.to_owned(),
                    (None, Some("query" | "document")) => String::new(),
                    _ => return unsupported("default prompt", shown(name), "the name of one of its prompts"),
                }
            }
        };
        let dimension = match file.get("truncate_dim") {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
                Some(dimension) if dimension > 0 => Some(dimension),
                _ => return unsupported("truncate_dim", shown(value), "a positive number"),
            },
        };
        Ok(Self { prompt, dimension })
    }
}
