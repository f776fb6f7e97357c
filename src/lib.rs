//! AutoValidate trainer: turns accepted corrections of mistyped car names into a better embedding model.
//!
//! The folders follow the data, and dependencies point down this list only:
//!
//! ```text
//! cli          one file per command
//! worker       a running worker: opens what a role needs, starts and ends its tasks
//! settings     everything a person can set, read once and checked as a whole
//! server       health, metrics, webhook
//! page         a run's report as text and as a page with plots
//! job          a training run: its stages, and the pipeline that walks them
//! supabase     where pairs come from: table sweep, Realtime, and the ingest that merges them
//! trigger      N pairs, or T elapsed: decides when a job starts
//! queue        JetStream: corrections, jobs, runs, events, the supervised embedded server
//! hub          the Hugging Face Hub: list, download, upload, commit, release names
//! synthesis    typos made up from the catalogue
//! evaluate     hold-out, retrieval metrics, baselines, gate
//! train        batches, vocabulary compaction, AdamW, schedule, checkpoints, the training loop
//! onnx         graph builder, reverse-mode differentiation, encoder, loss, artifacts
//! model        a sentence-transformers folder: config, weights, tokenizer, archive
//! correction   the pair: validation, normalising, templates
//! failure      what an error asks of whoever meets it
//! ```
//!
//! `onnx`, `model` and `train` know nothing of queues or networks. `local` holds the stand-ins for Supabase
//! and the Hub that development and tests use; only `cli` knows it.

pub use autovalidate_finetune::failure;

pub mod cli;
pub mod correction;
pub mod evaluate;
pub mod hub;
pub mod job;
pub mod page;
pub mod queue;
pub mod server;
pub mod settings;
pub mod supabase;
pub mod synthesis;
pub mod trigger;
pub mod worker;
