//! Tests of `hub`, and of the local Hub they run against.

// A helper that fails its test is what a test wants; clippy's exemption reaches test functions only.
#![allow(clippy::unwrap_used)]

mod bench;
mod downloading;
mod official;
mod pages;
mod publishing;
mod refusals;
mod rollback;
