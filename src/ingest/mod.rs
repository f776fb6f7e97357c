//! Sources of pairs (PostgREST, Realtime and a webhook) and the ingest that merges them.
//!
//! Reads the corrections table, through whichever source shows a row first, and hands every row to
//! an [`Inbox`] at least once. Never writes to the table, never stores a pair itself, and never
//! trusts Realtime or a webhook to be complete: the sweep guarantees that no row is lost.
//!
//! ```text
//! merge              the three loops that merge all sources
//! inbox              the port through which rows leave the ingest
//! access             address, key and columns of the table; decoding of a record
//! rest               the table through PostgREST
//! filters            conditions in PostgREST's syntax
//! page               rows of one answer, held against the question
//! page_size          number of rows per request, learned from the answers
//! rest_error         reasons why the table can't be read
//! answer_kind        kinds of the answers in place of rows
//! error_answer       an answer in place of rows, with the server's words and an advice
//! server_message     the server's own words in such an answer
//! realtime           one Realtime session: its socket and its deadlines
//! realtime_session   protocol state of a session: join, heartbeats, frames
//! realtime_event     events that a session reports, and its deadlines
//! disconnect_reason  reasons why a session ended
//! probe              subscriptions without a worker, for checks
//! sweep              keyset reads of every row that the inbox may lack
//! id_kind            kind of a table's ids
//! insert_order       the sweep by time of insert, where ids are texts
//! insert_pages       pages in the order of inserts
//! look_up            rows by id, all at once or one by one
//! comparison         comparison of kept rows with the table, a page with each sweep
//! sweep_loop         the loop that sweeps, and audits from time to time
//! sweep_trigger      requests for a sweep
//! audit              comparison of the table's rows with the inbox's
//! updates            rows that were updated since a given time
//! timing             intervals and ranges of the ingest
//! backoff            wait before the next try
//! status             state and events of the ingest, for status pages and metrics
//! metrics            numbers of the ingest, for `/metrics`
//! webhook            a database webhook's request: secret and hint
//! catalog            names that a correction may have
//! text_budget        limits on the names that are read from a table
//! fuzzing            doors for the fuzzer
//! sql                SQL that prepares a Supabase project
//! ```

mod access;
mod answer_kind;
mod audit;
mod backoff;
mod catalog;
mod comparison;
mod disconnect_reason;
mod error_answer;
mod filters;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod id_kind;
mod inbox;
mod insert_order;
mod insert_pages;
mod look_up;
mod merge;
mod metrics;
mod page;
mod page_size;
mod probe;
mod realtime;
mod realtime_event;
mod realtime_session;
mod rest;
mod rest_error;
mod series;
mod server_message;
pub mod sql;
mod status;
mod sweep;
mod sweep_loop;
mod sweep_trigger;
mod text_budget;
mod timing;
mod updates;
pub mod webhook;

pub use access::{AccessError, Columns, DEFAULT_SCHEMA, DEFAULT_TABLE, Malformed, TableAccess};
pub use answer_kind::AnswerKind;
pub use audit::Invisible;
pub use catalog::{CatalogError, CatalogSource, NoCatalog, read_names};
pub use disconnect_reason::{DisconnectReason, ProtocolStep};
pub use error_answer::ErrorAnswer;
pub use inbox::{Accepted, Inbox, InboxError, InsertPlace, Position};
pub use merge::Ingest;
pub use metrics::IngestMetrics;
pub use page::{Page, Unreadable, UnreadableReason};
pub use probe::{Notice, subscribes, watch_inserts};
pub use realtime_event::RealtimeDeadlines;
pub use rest::Table;
pub(crate) use rest::headers as rest_headers;
pub use rest_error::RestError;
pub use server_message::ServerMessage;
pub use status::{Backfill, IngestEvent, IngestStatus, ReportedError};
pub use sweep::SweepError;
pub use sweep_trigger::SweepTrigger;
pub use timing::IngestTiming;
