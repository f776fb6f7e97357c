//! The model folder.

mod archive;
