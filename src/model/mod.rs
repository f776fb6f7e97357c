//! A sentence-transformers folder. Knows no network.

pub mod archive;
