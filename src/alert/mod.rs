//! Alerts: one HTTP request for each thing that a person would want to know at once.
//!
//! Owns the choice of what is worth an alert, its words, and its delivery. An alert waits on the broker
//! until the receiver has taken it, so neither a restart nor a receiver that is down loses one. Never has
//! a pair's text, and never logs the receiver's address, which often holds a key.
//!
//! ```text
//! message    an alert, made from an event, and the body that it is sent as
//! delivery   the queue of alerts on the broker, and the request to the receiver
//! held_up    the alert for an ingest that gets no rows
//! ```

mod delivery;
mod held_up;
mod message;

pub use delivery::{AlertReceiver, Alerts};
pub use held_up::tell_when_held_up;
pub use message::{Alert, AlertFormat, AlertKind};
