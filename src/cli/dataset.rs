//! The dataset of files, for commands that need no queue.

use std::path::PathBuf;

use crate::evaluate::HoldOut;
use crate::run::{Dataset, NameSource, RunError, read_rows};
use crate::table_file::ParquetReader;
use crate::templates::Templates;

use super::CliError;

/// Reads the rows of all files, and the names of `CATALOG` if it is set. Tells on standard error what a
/// person should know of them.
pub(super) async fn dataset(
    files: &[PathBuf],
    hold_out: &HoldOut,
    templates: &Templates,
    names: Option<NameSource>,
) -> Result<Dataset, CliError> {
    let read = read_rows(files, &ParquetReader::of_this_program()).map_err(RunError::from)?;
    if let Some(repeated) = &read.repeated_ids {
        eprintln!("note: {repeated}");
    }
    let mut dataset = Dataset::new(read.rows, hold_out, templates);
    if let Some(sentence) = dataset.untemplated.sentence(templates) {
        eprintln!("note: {sentence}; [templates] of autovalidate.toml sets others");
    }
    if let Some(source) = names {
        dataset = dataset.with_names(&source.read().await.map_err(RunError::from)?, templates);
    }
    Ok(dataset)
}
