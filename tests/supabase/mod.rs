//! Tests of `supabase` and of its stand-in.

mod connection;
mod ingest;
mod memory;
mod official_client;
mod rest;
mod stand_in;
mod webhook;
