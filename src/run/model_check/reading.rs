//! The reading of a folder, in the process that may die of it.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::Encoder;

use super::folder_size::folder_size;
use super::{Refusal, Request, Verdict};
use crate::confined::{confine, isolate};
use crate::run::error::RunError;

/// Text that a model must be able to embed.
const TRIAL: &str = "car brand: toyota";
/// Number of times that a character is repeated: enough for a pattern that backtracks to show it.
const RUN: usize = 48;

/// Reads the folder that standard input names, and writes the verdict to standard output.
///
/// # Errors
/// When the request is malformed or the answer can't be written.
pub(crate) fn answer() -> std::io::Result<()> {
    isolate();
    let mut request = Vec::new();
    std::io::stdin().take(1 << 20).read_to_end(&mut request)?;
    let request: Request = serde_json::from_slice(&request)?;
    let verdict = match catch_unwind(AssertUnwindSafe(|| read(&request))) {
        Ok(Ok(())) => Verdict::Readable,
        Ok(Err(error)) => Verdict::Refused(Refusal::new(&error, error.is_of_model())),
        Err(_) => Verdict::Refused(Refusal::panicked()),
    };
    serde_json::to_writer(std::io::stdout(), &verdict)?;
    std::io::stdout().flush()
}

/// Opens the folder as training does, tokenizes, and embeds a text.
fn read(request: &Request) -> Result<(), RunError> {
    // The library is not the folder's: its memory does not count.
    let runtime = Runtime::load(&request.runtime, 1)?;
    confine(folder_size(&request.folder), &request.limits)
        .map_err(RunError::file("limit the reading of", &request.folder))?;
    let folder = ModelFolder::open(&request.folder)?;
    let texts = texts();
    folder.tokenizer()?.encode(&texts)?;
    if let Some(phrases) = &request.characters {
        folder.is_in_characters()?;
        folder.clone().in_characters(phrases.clone()).tokenizer()?.encode(&texts)?;
    }
    Encoder::embed_with(&runtime, &folder, &[TRIAL])?;
    Ok(())
}

/// Returns texts on which a pattern that backtracks without end shows: long runs of each character that
/// names consist of.
fn texts() -> Vec<String> {
    let letters =
        ('a'..='z').chain('A'..='Z').chain('0'..='9').chain(" -.,'\u{e9}\u{df}\u{4e9a}\u{d55c}".chars());
    letters.map(|letter| format!("{}!", String::from(letter).repeat(RUN))).collect()
}
