//! Integration tests, in one binary so that the crate is linked once. Each test starts the real
//! servers it needs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't continue must fail")]
#![allow(clippy::large_futures, reason = "a test awaits once")]

mod broker;
mod chaos;
mod console;
mod demo;
mod evaluate;
mod files;
mod hub;
mod ingest;
mod init;
mod nextest;
mod report;
mod run;
mod serverless;
mod support;
mod synthesis;
mod worker;
