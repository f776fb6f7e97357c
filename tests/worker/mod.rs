//! Tests of the whole path, with a real nats-server, the stand-ins over HTTP, and a small real
//! encoder.

mod alerts;
mod backend;
mod command_line;
mod commands;
mod doctor;
mod foreign_text;
mod metrics;
mod path;
mod read_only;
mod releases;
mod run_commands;
mod secrets;
mod settings;
mod stand_ins;
#[cfg(feature = "otel")]
mod traces;
mod wrong_input;
