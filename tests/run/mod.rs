//! Tests of `job`: whole runs on a tiny model, crashed, stopped, cancelled and fought over.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod checkpoints;
mod cluster;
pub(crate) mod crash_points;
mod meanwhile;
mod pipeline;
mod processes;
mod replay;
pub(crate) mod site;
