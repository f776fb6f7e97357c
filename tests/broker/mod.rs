//! Tests of `broker`, `corrections` and `trigger`. Each test starts its own nats-server.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod bench;
mod checkpoints;
mod control;
mod corrections;
pub(crate) mod crash_points;
mod credentials;
mod embedded;
mod foreign_clients;
mod jobs;
pub(crate) mod ownership;
mod quarantine;
mod records;
mod remote;
mod trigger;
mod trigger_faults;
