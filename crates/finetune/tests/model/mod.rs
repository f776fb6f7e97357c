//! The model folder.

mod archive;
mod folder;
pub(crate) mod variants;
