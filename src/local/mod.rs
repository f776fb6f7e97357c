//! Stand-ins for development and tests.

pub mod demo;
pub mod hub;
pub mod supabase;
