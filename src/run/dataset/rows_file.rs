//! Rows from a file: CSV with a header line, or JSON Lines with one object per line.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::correction::Row;
use crate::failure::{Failure, RetryDirective};

/// Error for a file of rows that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RowsFileError {
    /// The file can't be opened or read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A line of the file is not a row.
    #[error("line {line} of {}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: u64,
        /// Description of the problem, without the line's text.
        problem: String,
    },
}

impl Failure for RowsFileError {
    fn directive(&self) -> RetryDirective {
        RetryDirective::Person
    }

    fn advice(&self) -> String {
        "Use a CSV file with the header typo,corrected,domain (id is optional), or a .jsonl file of such objects."
            .to_owned()
    }
}

/// Line of the file. A row without an id gets the number of its line as its id.
#[derive(Deserialize)]
struct Line {
    id: Option<i64>,
    typo: String,
    corrected: String,
    #[serde(default)]
    domain: String,
}

/// Reads rows from a `.jsonl` or `.ndjson` file; any other file is read as CSV.
///
/// # Errors
/// [`RowsFileError`], naming the first line that is not a row.
pub fn read_rows(path: &Path) -> Result<Vec<Row>, RowsFileError> {
    let file =
        std::fs::File::open(path).map_err(|source| RowsFileError::File { path: path.to_owned(), source })?;
    let reader = BufReader::new(file);
    let json = path.extension().is_some_and(|ending| ending == "jsonl" || ending == "ndjson");
    if json { json_lines(path, reader) } else { comma_separated(path, reader) }
}

fn json_lines(path: &Path, reader: impl BufRead) -> Result<Vec<Row>, RowsFileError> {
    let mut rows = Vec::new();
    for (line, text) in (1_u64..).zip(reader.lines()) {
        let text = text.map_err(|source| RowsFileError::File { path: path.to_owned(), source })?;
        if text.trim().is_empty() {
            continue;
        }
        let parsed: Line = serde_json::from_str(&text).map_err(|error| RowsFileError::Line {
            path: path.to_owned(),
            line,
            // The message of serde_json can quote the input.
            problem: format!(
                "not an object with typo and corrected ({:?} at column {})",
                error.classify(),
                error.column()
            ),
        })?;
        rows.push(row(parsed, line));
    }
    Ok(rows)
}

fn comma_separated(path: &Path, reader: impl BufRead) -> Result<Vec<Row>, RowsFileError> {
    let mut rows = Vec::new();
    let mut table = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(reader);
    for (record, parsed) in (2_u64..).zip(table.deserialize::<Line>()) {
        let parsed = parsed.map_err(|error| {
            let line = error.position().map_or(record, csv::Position::line);
            let problem = match error.kind() {
                csv::ErrorKind::Utf8 { .. } => "not UTF-8",
                csv::ErrorKind::UnequalLengths { .. } => "the number of columns differs from the header's",
                csv::ErrorKind::Deserialize { .. } => {
                    "typo or corrected is missing, or id is not a whole number"
                }
                _ => "not CSV",
            };
            RowsFileError::Line { path: path.to_owned(), line, problem: problem.to_owned() }
        })?;
        rows.push(row(parsed, record));
    }
    Ok(rows)
}

fn row(line: Line, number: u64) -> Row {
    let id = line.id.unwrap_or_else(|| i64::try_from(number).unwrap_or(i64::MAX));
    Row { id, typo: line.typo, corrected: line.corrected, domain: line.domain, ..Row::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(name: &str, text: &[u8]) -> Result<Vec<Row>, RowsFileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_rows(&path)
    }

    #[test]
    fn csv_and_json_lines_give_the_same_rows() {
        let csv =
            parse("a.csv", b"typo,corrected,domain\ntoyta,Toyota,brand\n\"lnad, rover\",Land Rover,brand\n")
                .unwrap();
        let json = parse(
            "a.jsonl",
            b"{\"id\":2,\"typo\":\"toyta\",\"corrected\":\"Toyota\",\"domain\":\"brand\"}\n\n{\"id\":3,\"typo\":\"lnad, rover\",\"corrected\":\"Land Rover\",\"domain\":\"brand\"}\n",
        )
        .unwrap();
        assert_eq!(csv, json);
        assert_eq!(csv[1].typo, "lnad, rover");
    }

    #[test]
    fn the_wrong_line_is_named_without_its_text() {
        for (name, text) in [
            ("a.csv", &b"typo,corrected\nfine,Fine name\nsecret\n"[..]),
            (
                "a.jsonl",
                &b"{\"typo\":\"a\",\"corrected\":\"b\"}\n{\"typo\":\"ok\",\"corrected\":\"c\"}\nsecret\n"[..],
            ),
        ] {
            let error = parse(name, text).unwrap_err();
            assert!(matches!(error, RowsFileError::Line { line: 3, .. }), "{error:?}");
            assert!(!error.to_string().contains("secret"));
        }
        assert!(matches!(read_rows(Path::new("/nowhere.csv")), Err(RowsFileError::File { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse("a.csv", &bytes);
            let _ = parse("a.jsonl", &bytes);
        }
    }
}
