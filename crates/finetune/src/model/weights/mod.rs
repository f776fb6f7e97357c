//! The weights of a model folder: read by range, rewritten by streaming, in one file or several.
//!
//! No file is ever held in memory whole: a job reads the encoder and only those rows of the token table that its
//! texts use, and writing copies the rest from file to file. Numbers are 32-bit floats to the caller and whatever
//! the file says on disk.
//!
//! ```text
//! element  how a number stands in a file
//! file     one safetensors file
//! set      all files of a folder
//! ```

mod element;
mod file;
mod set;

pub use file::Alteration;
pub use set::WeightSet;

use super::ModelError;

fn tensor_error(tensor: &str, problem: &str) -> ModelError {
    ModelError::Tensor { tensor: tensor.to_owned(), problem: problem.to_owned() }
}
