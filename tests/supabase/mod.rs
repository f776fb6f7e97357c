//! Tests of `supabase` and of its stand-in.

mod official_client;
