//! Tests of `supabase` and of its stand-in.

mod audit;
mod catalog;
mod connection;
mod ingest;
mod memory;
mod official_client;
mod rest;
mod stand_in;
mod storm;
mod webhook;
