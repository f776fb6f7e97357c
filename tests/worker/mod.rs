//! Tests of the whole path: a real nats-server, the stand-ins over HTTP, a small real encoder.

mod commands;
mod harness;
mod path;
mod releases;
mod settings;
mod wrong_input;
