//! Stand-ins for development and tests: what the worker talks to, on this machine, without an account.
//!
//! Owns servers that speak the wire protocols of the real services, with switches that make them fail as those do, and
//! the demo's data. The worker never knows it talks to one: it gets an address, as always.
//!
//! ```text
//! supabase  PostgREST, Realtime, webhook
//! hub       the Hugging Face Hub
//! demo      car names and typos
//! ```

pub mod demo;
pub mod hub;
pub mod supabase;
