//! Tests of `broker`, `corrections` and `trigger`. Each test starts its own nats-server.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod access;
mod alerts;
mod bench;
mod bursts;
mod changes;
mod checkpoints;
mod control;
mod corrections;
pub(crate) mod crash_points;
mod credentials;
mod domain;
mod embedded;
mod foreign_clients;
mod jobs;
mod ledger_file;
pub(crate) mod ownership;
mod quarantine;
mod records;
mod refusals;
mod remote;
mod run_index;
mod text_ids;
mod trigger;
mod trigger_faults;
mod upgrade;
