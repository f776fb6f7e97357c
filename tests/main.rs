//! Integration tests, one binary so that the crate links once. Each test starts the real servers it needs.

mod demo;
mod evaluate;
mod hub;
mod model;
mod queue;
mod supabase;
mod support;
mod train;
