//! Checks of a set-up from end to end: a row through the table and Realtime, and a call of the webhook.
//!
//! Owns the only requests of this program that write to the table. Never leaves a row behind without
//! saying so, and never writes a row that a worker would train on.
//!
//! ```text
//! row      a row that is inserted, seen and removed
//! webhook  the database webhook's call, as the database makes it
//! ```

mod row;
mod webhook;

pub use row::{RowProbe, RowProbeError, RowSeen};
pub use webhook::{WebhookAnswer, WebhookProbeError, call_webhook};
