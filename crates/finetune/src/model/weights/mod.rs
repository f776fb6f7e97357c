//! The weights of a model folder: read by range, rewritten by streaming, in one file or several.
//!
//! No file is ever held in memory as a whole. A run reads the encoder and only those rows of the
//! token table that its texts use. Saving copies the other rows from file to file. Callers see
//! 32-bit floats, whatever the number format on disk.
//!
//! ```text
//! element     number formats
//! file        one weight file
//! file_names  names of weight files
//! set         all weight files of a folder
//! torch/      files that PyTorch has pickled
//! ```

mod element;
mod file;
mod file_names;
mod set;
mod torch;

pub use file::Alteration;
pub use file_names::is_pickled;
pub(super) use file_names::{WEIGHT_FILES, holds_weights};
pub use set::WeightSet;

use super::ModelError;

/// Returns the names that files give a tensor, most common first: with and without the prefix of a model
/// with a task head, and with the names that TensorFlow gave the two parts of a layer normalization.
fn names_in_files(name: &str, prefix: &str) -> Vec<String> {
    let stem = |ending| name.strip_suffix(ending).filter(|stem| stem.ends_with("LayerNorm"));
    let first = stem(".weight").map(|stem| format!("{stem}.gamma"));
    let first = first.or_else(|| stem(".bias").map(|stem| format!("{stem}.beta")));
    let prefixed = |name: String| [name.clone(), format!("{prefix}{name}")];
    [Some(name.to_owned()), first].into_iter().flatten().flat_map(prefixed).collect()
}

/// Returns the name that the model gives a tensor, from any of its [`names_in_files`].
fn name_in_model(name: &str, prefix: &str) -> String {
    let name = name.strip_prefix(prefix).unwrap_or(name);
    for (ending, own) in [("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")] {
        if let Some(stem) = name.strip_suffix(ending) {
            return format!("{stem}{own}");
        }
    }
    name.to_owned()
}

fn tensor_error(tensor: &str, problem: &str) -> ModelError {
    ModelError::Tensor { tensor: tensor.to_owned(), problem: problem.to_owned() }
}
