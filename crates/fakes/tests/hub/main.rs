//! The stand-in for the Hugging Face Hub, driven by the official Python client. Three versions of it
//! run with the settings that they are installed with: each script's asserts compare what the client
//! tells with what it was given.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that can't continue must fail")]

mod api;
mod large_files;
mod support;
