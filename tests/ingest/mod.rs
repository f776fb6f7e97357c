//! Tests of `ingest` and of the stand-in for Supabase.

mod audit;
mod catalog;
mod changes;
mod connection;
mod fault_load;
mod merge;
mod rest;
mod stand_in;
mod text_ids;
mod webhook;
