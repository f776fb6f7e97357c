//! The reading of a model folder in a process of its own, before the trainer reads it.
//!
//! A folder comes from the Hub, from a release, or from somebody who may send requests. Its files reach
//! parsers that other people wrote: a file can make them panic, hang, or take all memory. A
//! [confined](crate::confined) process therefore opens the folder as training does, and answers with a
//! verdict. A process that does not answer is a verdict, too.
//!
//! ```text
//! error        the kinds of failure
//! folder_size  the size of what is read, by which memory is limited
//! process      the trainer's side: starts the process, and takes its verdict
//! reading      the reading itself
//! ```

mod error;
mod folder_size;
mod process;
mod reading;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::confined::Limits;

pub use error::{ModelCheckError, Refusal};
pub use process::ModelCheck;
pub(crate) use reading::answer;

/// First argument of the program that makes it the reading process.
pub(crate) const CHECK_MODEL: &str = "check-model-folder";

/// A folder to read, and how training will read it. The process takes it as JSON from standard input.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    folder: PathBuf,
    /// ONNX Runtime library.
    runtime: PathBuf,
    /// Phrases of the templates, when training makes each character of a name a token.
    characters: Option<Vec<String>>,
    limits: Limits,
}

/// Verdict of the reading process, which it writes as JSON to standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
enum Verdict {
    Readable,
    Refused(Refusal),
}
