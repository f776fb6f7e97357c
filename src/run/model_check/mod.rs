//! The reading of a model folder in a process of its own, before the trainer reads it.
//!
//! A folder comes from the Hub, from a release, or from somebody who may send requests. Its files reach
//! parsers that other people wrote: a file can make them panic, hang, or take all memory. The program
//! therefore starts itself once more, with limits on time and memory, without the settings' secrets and
//! where possible without a network. That process opens the folder as training does and answers with a
//! verdict. A process that does not answer is a verdict, too.
//!
//! ```text
//! confined  the limits that the reading process sets itself
//! error     the kinds of failure
//! process   the trainer's side: starts the process, and takes its verdict
//! reading   the reading itself
//! ```

mod confined;
mod error;
mod process;
mod reading;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use error::{ModelCheckError, Refusal};
pub use process::ModelCheck;
pub use reading::answer;

/// First argument of the program that makes it the reading process.
pub const CHECK_MODEL: &str = "check-model-folder";

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

/// Limits of the reading process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest duration, of the clock and of the processor.
    pub time: Duration,
    /// Memory in bytes beyond that of the program itself, and beyond [`Self::per_byte`].
    pub memory: u64,
    /// Memory in bytes for each byte of the folder's files.
    pub per_byte: u64,
}

impl Default for Limits {
    /// Returns two minutes, and 512 MiB besides four times the size of the files. Reading
    /// all-MiniLM-L6-v2 takes one or two seconds and less than 64 MiB.
    fn default() -> Self {
        Self { time: Duration::from_secs(120), memory: 512 << 20, per_byte: 4 }
    }
}

/// Verdict of the reading process, which it writes as JSON to standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
enum Verdict {
    Readable,
    Refused(Refusal),
}
