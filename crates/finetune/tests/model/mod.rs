//! Tests of the model folder.

mod archive;
mod folder;
pub(crate) mod variants;
