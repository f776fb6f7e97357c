//! A sentence-transformers folder: what the encoder looks like, its weights, its tokenizer, and its archive.
//!
//! Owns reading and writing the folder as `SentenceTransformer(path)` expects it, and refuses one it can't train
//! with a sentence that says why. Never trains, never runs a graph, never touches a network.
//!
//! ```text
//! archive       a folder as a zip, and back
//! architecture  what tells BERT, RoBERTa, XLM-RoBERTa, DistilBERT and MPNet apart
//! config        the encoder's shape (config.json)
//! durable       files that are there whole or not at all
//! folder        the modules (modules.json, 1_Pooling, Normalize) and files of a folder
//! tokenizer     texts to token ids (tokenizer.json)
//! weights       tensors of safetensors files, read by range and rewritten by streaming
//! ```

mod architecture;
pub mod archive;
mod config;
mod durable;
mod error;
mod folder;
mod tokenizer;
mod weights;

pub use architecture::{Architecture, Description, LayerNames, Positions};
pub use config::{DropoutRates, EncoderConfig};
pub(crate) use durable::replace;
pub use error::ModelError;
pub use folder::{Head, ModelFolder, Pooling};
pub use tokenizer::{Tokenized, Tokenizer};
pub use weights::{Alteration, WeightSet};
