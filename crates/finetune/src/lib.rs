//! Fine-tunes a sentence-transformers folder on pairs of texts, on a stock ONNX Runtime and without Python.
//!
//! Dependencies point down this list only; nothing here knows of an async runtime, a network or a queue.
//!
//! ```text
//! fine_tune the short way: a folder and pairs in, a fine-tuned folder out
//! error     the error of that way
//! train     batches, vocabulary compaction, AdamW, schedule, checkpoints, the training loop
//! onnx      graph builder, reverse-mode differentiation, encoder, loss, artifacts
//! model     a sentence-transformers folder: config, weights, tokenizer, archive
//! failure   the directive and the advice that every error carries
//! ```

mod error;
pub mod failure;
mod fine_tune;
pub mod model;
pub mod onnx;
pub mod train;

pub use error::Error;
pub use fine_tune::{FineTuned, fine_tune};
