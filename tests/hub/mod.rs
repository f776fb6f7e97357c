//! Tests of `hub`, and of the local Hub that they use.

// A helper should fail its test by a panic. Clippy exempts only the test functions themselves.
#![allow(clippy::unwrap_used)]

mod downloading;
mod endless;
mod official;
mod pages;
mod publishing;
mod refusals;
mod rollback;
