//! Stand-ins for the services that the worker talks to. They run on this machine without an
//! account, for development and tests.
//!
//! Owns servers that speak the wire protocols of the real services, switches that inject the
//! failures of those services, and the demo's data. The worker cannot tell a stand-in from the
//! real service: both are only an address in its settings.
//!
//! ```text
//! supabase  PostgREST, Realtime, and the database webhook
//! hub       the Hugging Face Hub
//! fly       Fly.io: the Machines API, machines that are processes, and the proxy
//! demo      car names and typos
//! ```

#![forbid(unsafe_code)]

mod connection;
pub mod demo;
#[cfg(unix)]
pub mod fly;
pub mod hub;
pub mod supabase;
