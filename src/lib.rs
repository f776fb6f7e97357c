//! AutoValidate trainer: turns accepted corrections of mistyped car names into a better embedding model.
//!
//! The folders follow the data, and dependencies point down this list only:
//!
//! ```text
//! cli          one file per command
//! worker       a running worker: opens what a role needs, starts and ends its tasks
//! settings     everything a person can set, read once and checked as a whole
//! http         health, metrics, webhook
//! report       a run's report as text and as a page with plots
//! run          a training run: its stages, from a job request to a published model
//! ingest       table sweep, Realtime, webhook, and the ingest that merges them
//! trigger      N pairs, or T elapsed: decides when a job starts
//! corrections  the pairs' stream: screening, dedup ledger, quarantine
//! broker       JetStream: connection, embedded server, streams, jobs, run records, events
//! hub          the Hugging Face Hub: list, download, upload, commit, release names
//! synthesis    synthetic typos of the catalog's names
//! evaluate     hold-out, retrieval metrics, baselines, gate
//! correction   the pair: validation, normalizing, templates
//! ```
//!
//! Below them stand three crates: `autovalidate-finetune` (model folder, graphs, training), `autovalidate-kernels` (its
//! arithmetic) and, in development only, `autovalidate-fakes` (stand-ins for Supabase and the Hub).

pub use autovalidate_finetune::failure;

pub mod broker;
pub mod cli;
pub mod correction;
pub mod corrections;
pub mod evaluate;
pub mod http;
pub mod hub;
pub mod ingest;
pub mod report;
pub mod run;
pub mod settings;
pub mod synthesis;
pub mod trigger;
pub mod worker;
