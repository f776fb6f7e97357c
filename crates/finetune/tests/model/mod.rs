//! Tests of the model folder.

mod archive;
mod characters;
mod folder;
mod layouts;
mod parity;
mod torch;
pub(crate) mod variants;
