//! The stand-in for Fly.io, tested over HTTP and with real processes.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that can't continue must fail")]

mod faults;
mod leases;
mod processes;
mod proxy;
mod reading;
mod states;
mod support;
mod waiting;
