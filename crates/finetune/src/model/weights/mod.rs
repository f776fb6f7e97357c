//! The weights of a model folder: read by range, rewritten by streaming, in one file or several.
//!
//! No file is ever held in memory as a whole. A run reads the encoder and only those rows of the
//! token table that its texts use. Saving copies the other rows from file to file. Callers see
//! 32-bit floats, whatever the number format on disk.
//!
//! ```text
//! element  number formats
//! file     one weight file
//! set      all weight files of a folder
//! torch/   files that PyTorch has pickled
//! ```

mod element;
mod file;
mod set;
mod torch;

pub use file::Alteration;
pub use set::WeightSet;

use super::ModelError;

/// Returns a tensor's name as files of the first years have it: with the names that TensorFlow gave
/// the two parts of a layer normalization.
fn first_name(name: &str) -> Option<String> {
    let stem = |ending| name.strip_suffix(ending).filter(|stem| stem.ends_with("LayerNorm"));
    stem(".weight")
        .map(|stem| format!("{stem}.gamma"))
        .or_else(|| stem(".bias").map(|stem| format!("{stem}.beta")))
}

/// Returns the name of today for a tensor's name in a file.
fn name_of_today(name: &str) -> Option<String> {
    name.strip_suffix(".gamma")
        .map(|stem| format!("{stem}.weight"))
        .or_else(|| name.strip_suffix(".beta").map(|stem| format!("{stem}.bias")))
}

fn tensor_error(tensor: &str, problem: &str) -> ModelError {
    ModelError::Tensor { tensor: tensor.to_owned(), problem: problem.to_owned() }
}
