//! Tests of `run`: whole runs on a tiny model that crash, stop, are cancelled, or compete.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod checkpoints;
mod cluster;
mod compatibility;
pub(crate) mod crash_points;
mod foreign_releases;
mod hostile_models;
mod meanwhile;
mod passing_trouble;
mod permissions;
mod pipeline;
mod processes;
mod replay;
mod sizes;
mod tokens;
