//! Files of rows and lists of names.

use std::path::Path;

use autovalidate::ingest::read_names;
use autovalidate::run::read_rows;
use autovalidate::table_file::{ENDINGS, MAX_RECORDS, ParquetReader};

use crate::scratch;

/// Reads the input as a file of text, whose ending the first byte chooses.
pub(crate) fn text(input: &[u8]) {
    let Some((first, content)) = input.split_first() else { return };
    let ending = ENDINGS[usize::from(*first) % (ENDINGS.len() - 1)];
    let path = scratch::file(&format!("rows.{ending}"), content);
    rows(&path);
    names(&path);
}

/// Reads the input as a Parquet file, of rows or else of names: a few bytes may be a million rows, which take
/// seconds.
pub(crate) fn parquet(input: &[u8]) {
    let path = scratch::file("rows.parquet", input);
    match input.len() % 2 {
        0 => rows(&path),
        _ => names(&path),
    }
}

fn rows(path: &Path) {
    if let Ok(rows) = read_rows(&[path], &ParquetReader::in_this_process()) {
        assert!(rows.rows.len() as u64 <= MAX_RECORDS);
    }
}

fn names(path: &Path) {
    let domains = ["brand", "model"].map(str::to_owned);
    let _ = read_names(path, &domains, true, &ParquetReader::in_this_process());
}
