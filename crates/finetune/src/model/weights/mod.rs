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

fn tensor_error(tensor: &str, problem: &str) -> ModelError {
    ModelError::Tensor { tensor: tensor.to_owned(), problem: problem.to_owned() }
}
