//! Where pairs come from: PostgREST, Realtime, webhook, and the ingest that merges them.
//!
//! Owns reading the corrections table, by whichever way a row shows itself first, and handing every row to an
//! [`Inbox`] at least once. Never writes to the table, never keeps a pair itself, and never trusts Realtime or
//! a webhook to be complete: the sweep is what guarantees that nothing is lost.
//!
//! ```text
//! audit       does the inbox have every row, and is any visible
//! access      where the table is, its key, its columns; reading a record
//! catalog   the names a correction may be
//! rest        the table through PostgREST
//! rest_error  what can be answered instead of rows
//! realtime    one generation of the Realtime connection: its socket and deadlines
//! generation  what a generation says and hears
//! sign        what it reports, and its deadlines
//! probe       whether row changes can be subscribed to, asked once
//! end         why a generation ended
//! inbox       the port rows leave through
//! sweep       everything the inbox may lack, by keyset with overlap
//! ingest      the three loops that merge it all
//! rounds      the third of them: sweep after sweep
//! timing        how often and how far it looks
//! sweep_trigger        what asks for a sweep
//! status      what the ingest shows of itself
//! backoff     how long to wait before trying again
//! webhook     a database webhook's request: secret and hint
//! sql         what makes a project ready
//! ```

mod access;
mod audit;
mod backoff;
mod catalog;
mod disconnect_reason;
mod inbox;
mod ingest;
mod probe;
mod realtime;
mod realtime_event;
mod realtime_session;
mod rest;
mod rest_error;
pub mod sql;
mod status;
mod sweep;
mod sweep_loop;
mod sweep_trigger;
mod timing;
pub mod webhook;

pub use access::{AccessError, Columns, Malformed, TableAccess};
pub use audit::Invisible;
pub use catalog::{CatalogError, CatalogSource, NoCatalog};
pub use disconnect_reason::{DisconnectReason, Step};
pub use inbox::{Accepted, Inbox, InboxError};
pub use ingest::Ingest;
pub use probe::subscribes;
pub use realtime_event::Limits;
pub use rest::{Page, Table};
pub use rest_error::RestError;
pub use status::{Backfill, IngestEvent, IngestStatus, Trouble};
pub use sweep::SweepError;
pub use sweep_trigger::SweepTrigger;
pub use timing::IngestTiming;
