//! Fuzzer of every parser of bytes from outside: one program with all targets, of which the variable
//! `FUZZ_TARGET` chooses one. Without the variable it lists the targets, each with its longest input.
//!
//! `scripts/fuzz` builds and runs it. A target calls the functions that the product calls on these bytes,
//! and fails on an answer that the product could not go on with. `corpus/<target>` has the inputs that each
//! run starts from, and `words/<target>.dict` words that mutations put in.
//!
//! ```text
//! findings   the panics that count
//! scratch    files of one input
//! overlay    files of a model folder in one input
//! ingest     Realtime frames, PostgREST pages and refusals, webhooks
//! hub        listings, index, receipts, model cards
//! job        job requests
//! settings   environment and settings file
//! tables     CSV, JSON and Parquet
//! archive    zips
//! weights    safetensors files and pickles of PyTorch
//! folder     descriptions of models, tokenizers
//! ```

#![no_main]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod archive;
mod findings;
mod folder;
mod hub;
mod ingest;
mod job;
mod overlay;
mod scratch;
mod settings;
mod tables;
mod weights;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

/// One parser.
struct Target {
    name: &'static str,
    /// Length of the longest input, in bytes.
    longest: usize,
    run: fn(&[u8]),
}

const TARGETS: [Target; 16] = [
    Target { name: "card", longest: 4 << 10, run: hub::card },
    Target { name: "index", longest: 8 << 10, run: hub::index },
    Target { name: "job-request", longest: 2 << 10, run: job::request },
    Target { name: "listing", longest: 8 << 10, run: hub::listing },
    Target { name: "model-folder", longest: 8 << 10, run: folder::description },
    Target { name: "parquet", longest: 8 << 10, run: tables::parquet },
    Target { name: "pickle", longest: 16 << 10, run: weights::pickle },
    Target { name: "realtime", longest: 8 << 10, run: ingest::realtime },
    Target { name: "receipt", longest: 16 << 10, run: hub::receipt },
    Target { name: "rest", longest: 8 << 10, run: ingest::rest },
    Target { name: "safetensors", longest: 8 << 10, run: weights::safetensors },
    Target { name: "settings", longest: 4 << 10, run: settings::read },
    Target { name: "table", longest: 4 << 10, run: tables::text },
    Target { name: "tokenizer", longest: 16 << 10, run: folder::tokenizer },
    Target { name: "webhook", longest: 4 << 10, run: ingest::webhook },
    Target { name: "zip", longest: 16 << 10, run: archive::unpack },
];

static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();

fn choose() -> fn(&[u8]) {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    if let Some(target) = TARGETS.iter().find(|target| target.name == name) {
        return target.run;
    }
    TARGETS.iter().for_each(|target| println!("{} {}", target.name, target.longest));
    std::process::exit(i32::from(!name.is_empty()));
}

fuzz_target!(
    init: {
        CHOSEN.get_or_init(choose);
        findings::watch();
    },
    |input: &[u8]| findings::run(CHOSEN.get_or_init(choose), input)
);
