//! AutoValidate trainer: fine-tunes an embedding model with accepted corrections of mistyped car
//! names.
//!
//! The modules are listed from top to bottom. A module depends only on modules below it:
//!
//! ```text
//! cli          the command line, one file per command
//! worker       a running worker: opens the connections of its role, starts and stops its tasks
//! settings     all settings, read once and validated together
//! http         health, metrics, webhook, console
//! report       a run's report as text and as a page with plots
//! run          a training run: its stages, from a job request to a published model
//! launcher     start of a trainer when a job waits: a Fly machine, or a command
//! alert        requests to a receiver for what a person would want to know at once
//! probe        checks of a set-up from end to end, on request
//! ingest       table sweep, Realtime and webhook, merged into one ingest
//! trigger      decision to start a job: after N pairs, or after a time
//! corrections  the stream of pairs: screening, dedup ledger, quarantine
//! broker       JetStream: connection, embedded server, streams, jobs, run records, events
//! hub          the Hugging Face Hub: list, download, upload, commit, release names
//! synthesis    synthetic typos of catalog names
//! evaluate     hold-out, retrieval metrics, baselines, gate
//! table_file   tables in files: CSV, JSON, Parquet
//! confined     another process of this program, with limits, for hostile bytes
//! retry        growing pauses with jitter
//! answer       body of an HTTP answer, read up to a limit
//! row_list     rows in few large pieces of memory
//! correction   the training pair and its validation
//! templates    rendering of texts as model input
//! catalog_row  names of the catalog that belong together
//! row_identity number of a row, and version of its text
//! default_value fields that are left out of a record
//! postgres_time a time in the forms that PostgreSQL writes
//! redaction    removal of secrets from texts that are printed, logged or recorded
//! text         identity of a text: normalizing
//! hex          bytes as hexadecimal digits
//! trace_context contexts of traces, in messages
//! ```
//!
//! Three crates are below these modules: `autovalidate-finetune` (model folder, graphs, training),
//! `autovalidate-kernels` (numeric kernels) and, in development only, `autovalidate-fakes`
//! (stand-ins for Supabase and the Hub).

#![forbid(unsafe_code)]

pub mod alert;
mod answer;
pub mod broker;
pub mod catalog_row;
pub mod cli;
pub mod confined;
pub mod correction;
pub mod corrections;
mod default_value;
pub mod evaluate;
pub mod failure;
mod hex;
pub mod http;
pub mod hub;
pub mod ingest;
pub mod launcher;
mod postgres_time;
pub mod probe;
pub mod redaction;
pub mod report;
pub mod retry;
pub mod row_identity;
pub mod row_list;
pub mod run;
pub mod settings;
pub mod synthesis;
pub mod table_file;
pub mod templates;
pub mod text;
pub mod trace_context;
pub mod trigger;
pub mod worker;
