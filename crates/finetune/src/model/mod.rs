//! A sentence-transformers folder: the encoder's shape, its weights, its tokenizer, and its
//! archive.
//!
//! Owns reading and writing the folder as `SentenceTransformer(path)` expects it. Refuses a folder
//! that can't be trained, with an error that names the reason. Never trains, never runs a graph,
//! never touches a network.
//!
//! ```text
//! archive/      packing of a folder into a zip, and unpacking
//! architecture  the differences between BERT, RoBERTa, XLM-RoBERTa, DistilBERT and MPNet
//! config        the encoder's shape (config.json)
//! error         the error of reading, checking and writing a folder
//! folder        the modules (modules.json, 1_Pooling, Normalize) and files of a folder
//! locate        the place of a model in an unpacked zip
//! tokenizer     tokenization of texts (tokenizer.json)
//! weights/      tensors of weight files, read by range and rewritten by streaming
//! ```

mod architecture;
pub mod archive;
mod config;
mod error;
mod folder;
mod locate;
mod tokenizer;
mod weights;

pub use architecture::{Architecture, Description, LayerNames, Positions};
pub use config::{DropoutRates, EncoderConfig};
pub use error::ModelError;
pub use folder::{Head, ModelFolder, Pooling};
pub use locate::find_model;
pub use tokenizer::{Tokenized, Tokenizer};
pub use weights::{Alteration, WeightSet};
