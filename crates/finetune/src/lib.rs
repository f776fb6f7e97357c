//! Fine-tunes a sentence-transformers folder on pairs of texts, on a stock ONNX Runtime and without
//! Python.
//!
//! ```rust,no_run
//! # use std::path::Path;
//! # use autovalidate_finetune::fine_tune;
//! # use autovalidate_finetune::model::ModelFolder;
//! # use autovalidate_finetune::onnx::{Runtime, disable_telemetry};
//! # use autovalidate_finetune::train::{Progress, Recipe};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pairs = [("toyta", "Toyota"), ("hunday", "Hyundai")];
//! disable_telemetry()?;
//! let runtime = Runtime::load(Path::new("libonnxruntime.so"), 4)?;
//! let base = ModelFolder::open(Path::new("all-MiniLM-L6-v2"))?;
//! let tuned = fine_tune(&runtime, &base, &pairs, &Recipe::default(), &mut |_: &Progress| true)?;
//! # std::fs::create_dir("tuned")?;
//! tuned.save(Path::new("tuned"))?;
//! # Ok(())
//! # }
//! ```
//!
//! Each of the `pairs` is an anchor and its positive. The folder `tuned` must exist and be empty.
//! `README.md` lists requirements and limits; `examples/fine_tune.rs` is a complete program.
//!
//! Dependencies point down this list only. Nothing here knows of an async runtime, a network or a
//! queue.
//!
//! ```text
//! fine_tune  entry point: a folder and pairs in, a fine-tuned folder out
//! error      the error of the entry point
//! train      batches, vocabulary compaction, AdamW, schedule, checkpoints, the training loop
//! onnx       graph builder, reverse-mode differentiation, encoder, loss, artifacts
//! model      a sentence-transformers folder: config, weights, tokenizer, archive
//! durable    atomic replacement of files
//! failure    the directive and the advice that every error carries
//! ```

#![forbid(unsafe_code)]

pub mod durable;
mod error;
pub mod failure;
mod fine_tune;
pub mod model;
pub mod onnx;
pub mod train;

pub use error::Error;
pub use fine_tune::{FineTuned, fine_tune};
