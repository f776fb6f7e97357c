//! A sentence-transformers folder: the encoder's shape, its weights, its tokenizer, and its
//! archive.
//!
//! Owns reading and writing the folder as `SentenceTransformer(path)` expects it. Refuses a folder
//! that can't be trained, with an error that names the reason. Never trains, never runs a graph,
//! never touches a network.
//!
//! ```text
//! archive/         packing of a folder into a zip, and unpacking
//! architecture     the differences between BERT, RoBERTa, XLM-RoBERTa, DistilBERT and MPNet
//! config           the encoder's shape (config.json)
//! description      the files beside the weights of a saved model
//! error            the error of reading, checking and writing a folder
//! files            reading of small files
//! folder           a folder's parts, read and checked together
//! library_config   prompts, dimension and similarity (config_sentence_transformers.json)
//! listed           names of the files that a saved copy has
//! locate           the place of a model in an unpacked zip
//! modules          the modules (modules.json, 1_Pooling, Normalize)
//! sentence_config  the settings of the encoder's module (sentence_bert_config.json)
//! tokenizer/       tokenization of texts as transformers does it
//! weights/         tensors of weight files, read by range and rewritten by streaming
//! ```

mod architecture;
pub mod archive;
mod config;
mod description;
mod error;
mod files;
mod folder;
mod library_config;
mod listed;
mod locate;
mod modules;
mod sentence_config;
mod tokenizer;
mod weights;

pub use architecture::{Architecture, Description, LayerNames, Positions};
pub use config::{DropoutRates, EncoderConfig};
pub use error::ModelError;
pub use folder::{Head, ModelFolder, Pooling};
pub use locate::find_model;
pub use tokenizer::{Tokenized, Tokenizer, TokenizerChoice};
pub use weights::{Alteration, WeightSet, is_pickled};
