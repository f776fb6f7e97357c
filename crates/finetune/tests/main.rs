//! Integration tests of the crate, in one binary that links once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't continue must fail")]

mod fine_tune;
mod model;
mod support;
mod train;
