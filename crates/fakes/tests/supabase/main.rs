//! The stand-in for Supabase with every type of primary key, tested over HTTP and a websocket.
#![allow(clippy::expect_used, reason = "a test that can't continue must fail")]

mod answers;
mod clients;
mod events;
mod reading;
mod support;
mod writing;
