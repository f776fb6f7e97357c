//! Tests of `queue` and `trigger`, each against a real nats-server of its own.

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
mod quarantine;
mod records;
mod remote;
pub(crate) mod setup;
mod trigger;
mod trigger_faults;
