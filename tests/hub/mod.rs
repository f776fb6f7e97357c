//! Tests of `hub`, and of the local Hub they run against.

mod bench;
mod downloading;
mod official;
mod publishing;
mod refusals;
