//! Stand-ins for development and tests.

pub mod hub;
pub mod supabase;
pub mod demo;
