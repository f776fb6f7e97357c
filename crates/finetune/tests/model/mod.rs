//! Tests of the model folder.

mod archive;
mod folder;
mod parity;
pub(crate) mod variants;
