//! Integration tests of the crate, one binary so that it links once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod fine_tune;
mod model;
mod support;
mod train;
