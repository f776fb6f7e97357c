//! Tests of the model folder.

mod archive;
mod characters;
mod folder;
mod foreign_files;
mod hostile;
mod layouts;
mod parity;
mod torch;
pub(crate) mod variants;
