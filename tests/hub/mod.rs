//! Tests of `hub`, and of the local Hub they run against.

mod official;
