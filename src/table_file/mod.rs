//! Tables in files, as other programs export them: CSV, JSON and Parquet.
//!
//! Owns the formats, the encodings of text, and the match between wanted columns and those of a
//! file. Never interprets a value: callers turn records into rows or names. A file is read up to a
//! size, and a record that can't be read stops the reading, so that none is dropped.
//!
//! ```text
//! columns    the columns that a caller wants, and their places in a file
//! encoding   UTF-8 and UTF-16
//! separated  columns separated by commas, semicolons or tabs
//! json       one array, or one value after the other
//! parquet    columns of a Parquet file, decoded by a process of its own
//! lines      line numbers
//! error      problems, each with its remedy
//! ```

mod columns;
mod encoding;
mod error;
mod json;
mod lines;
mod parquet;
mod separated;

use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

pub use columns::{Column, Columns, Need};
use error::Fault;
pub use error::{Place, Problem, TableFileError};
pub use parquet::ParquetReader;
pub(crate) use parquet::{READ_PARQUET, answer};

/// Largest size of a file, in bytes.
pub const MAX_BYTES: u64 = 256 << 20;
/// Largest number of records in a file.
pub const MAX_RECORDS: u64 = 2_000_000;

/// Endings of the names of files that hold a table.
pub const ENDINGS: [&str; 7] = ["csv", "tsv", "txt", "json", "jsonl", "ndjson", "parquet"];

/// One record of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Number of the record, from 1. The line of a header doesn't count.
    pub number: u64,
    /// Place of the record, for a person.
    pub place: Place,
    /// Values in the order of the wanted columns; `None` for null and for a column that the file
    /// lacks.
    pub values: Vec<Option<String>>,
}

/// Reads a file. Its content decides on the format, and its name where both JSON and CSV are
/// possible.
///
/// # Errors
/// [`TableFileError`], naming the first record that can't be read.
pub fn read(
    path: &Path,
    columns: &Columns<'_>,
    parquet: &ParquetReader,
) -> Result<Vec<Record>, TableFileError> {
    let mut records = Vec::new();
    read_each(path, columns, parquet, &mut |record| records.push(record))?;
    Ok(records)
}

/// Reads a file as [`read`] does, and hands each record over. After an error, the records so far are not the
/// whole file, and count for nothing.
///
/// # Errors
/// The errors of [`read`].
pub fn read_each(
    path: &Path,
    columns: &Columns<'_>,
    parquet: &ParquetReader,
    take: &mut dyn FnMut(Record),
) -> Result<(), TableFileError> {
    let bytes = read_bytes(path)?;
    each_record(bytes, &ending(path), columns, parquet, take).map_err(|fault| fault.of(path))
}

/// Returns the ending of a file's name in lower case; empty for a name without one.
pub(crate) fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, TableFileError> {
    let failed = |source| TableFileError::File { path: path.to_owned(), source };
    let too_large = || Fault::from(Problem::TooLarge).of(path);
    let file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    // A device such as /dev/zero has no end. A pipe, such as another program's output, has one.
    if metadata.file_type().is_char_device() || metadata.file_type().is_block_device() {
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is a device")));
    }
    if metadata.len() > MAX_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // The length of a pipe is 0, and a file may grow meanwhile.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES { Err(too_large()) } else { Ok(bytes) }
}

fn each_record(
    bytes: Vec<u8>,
    ending: &str,
    columns: &Columns<'_>,
    parquet: &ParquetReader,
    take: &mut dyn FnMut(Record),
) -> Result<(), Fault> {
    if bytes.starts_with(b"PAR1") {
        return parquet.records(bytes, columns, take);
    }
    if ending == "parquet" {
        return Err(Problem::NotParquet.into());
    }
    for (magic, kind) in [
        (&b"PK\x03\x04"[..], "a workbook or another zip file"),
        (b"\xd0\xcf\x11\xe0", "a workbook of old Excel versions"),
        (b"\x1f\x8b", "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
        (b"SQLite format 3", "a SQLite database"),
    ] {
        if bytes.starts_with(magic) {
            return Err(Problem::OtherFormat { kind: kind.into() }.into());
        }
    }
    let text = encoding::decode(&bytes)?;
    let is_json = match ending {
        "json" | "jsonl" | "ndjson" => true,
        "csv" | "tsv" => false,
        _ => text.trim_start().starts_with(['[', '{']),
    };
    if is_json { json::records(&text, columns, take) } else { separated::records(&text, columns, take) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const COLUMNS: Columns<'static> = Columns {
        wanted: &[
            Column::required(&["typo"]),
            Column::required(&["corrected"]),
            Column::optional(&["domain"]),
        ],
        lone: None,
    };
    pub(crate) const NAMES: Columns<'static> = Columns {
        wanted: &[Column::required(&["name", "corrected"]), Column::optional(&["domain"])],
        lone: Some(0),
    };

    /// Returns the records of a file with these bytes.
    fn records(
        bytes: Vec<u8>,
        ending: &str,
        columns: &Columns<'_>,
        parquet: &ParquetReader,
    ) -> Result<Vec<Record>, Fault> {
        collected(|take| each_record(bytes, ending, columns, parquet, take))
    }

    /// Returns the records that a reading hands over.
    pub(in crate::table_file) fn collected(
        read: impl FnOnce(&mut dyn FnMut(Record)) -> Result<(), Fault>,
    ) -> Result<Vec<Record>, Fault> {
        let mut records = Vec::new();
        read(&mut |record| records.push(record))?;
        Ok(records)
    }

    fn here() -> ParquetReader {
        ParquetReader::in_this_process()
    }

    pub(crate) fn texts(text: impl AsRef<[u8]>, ending: &str) -> Vec<Vec<Option<String>>> {
        let records = records(text.as_ref().to_vec(), ending, &COLUMNS, &here()).unwrap();
        records.into_iter().map(|record| record.values).collect()
    }

    #[test]
    fn the_content_decides_where_the_name_does_not() {
        let csv = "typo,corrected\n[x,Y\n";
        assert_eq!(texts(csv, ""), texts(csv, "csv"));
        let json = r#"[{"typo":"x","corrected":"Y"}]"#;
        assert_eq!(texts(json, "txt"), texts(json, "jsonl"));
        for (bytes, kind) in
            [(&b"PK\x03\x04.."[..], "workbook"), (b"\x1f\x8b..", "gzip"), (b"PAR1", "Parquet")]
        {
            let fault = records(bytes.to_vec(), "csv", &COLUMNS, &here()).unwrap_err();
            assert!(fault.problem.to_string().contains(kind), "{fault:?}");
        }
        let fault = records(b"typo".to_vec(), "parquet", &COLUMNS, &here()).unwrap_err();
        assert!(matches!(fault.problem, Problem::NotParquet));
    }

    #[test]
    fn a_file_is_named_and_too_large_a_one_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(&folder.path().join("none.csv"), &COLUMNS, &here()).unwrap_err();
        assert!(matches!(error, TableFileError::File { .. }) && error.to_string().contains("none.csv"));
        let error = read(Path::new("/dev/zero"), &COLUMNS, &here()).unwrap_err();
        assert!(matches!(error, TableFileError::File { .. }), "{error:?}");
        let path = folder.path().join("large.csv");
        std::fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error = read(&path, &COLUMNS, &here()).unwrap_err();
        assert!(matches!(error, TableFileError::Whole { problem: Problem::TooLarge, .. }), "{error:?}");
    }

    /// Texts that come close to each format.
    fn near_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "(?s).{0,120}",
            "(typo|corrected|domain|sep=|[\",;\t\r\n ax])*",
            r#"(\[|\]|\{|\}|"typo"|"corrected"|:|,|null|1|"a"|\\u|"|\n){0,24}"#,
        ]
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(
            bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), near_text().prop_map(String::into_bytes)],
            ending in prop::sample::select(vec!["csv", "json", "jsonl", "parquet", ""]),
            start in prop::sample::select(vec![&b""[..], b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"PAR1"]),
        ) {
            let bytes = [start, &bytes].concat();
            for columns in [COLUMNS, NAMES] {
                if let Err(fault) = records(bytes.clone(), ending, &columns, &here()) {
                    prop_assert!(!fault.problem.advice().is_empty());
                }
            }
        }

        /// Whatever a file is written as, the same table comes out.
        #[test]
        fn every_form_of_a_table_gives_the_same_records(
            rows in prop::collection::vec(prop::array::uniform3("[^\r\n\0\u{feff}]{1,12}"), 1..12),
            separator in prop::sample::select(vec![b',', b';', b'\t']),
            crlf in any::<bool>(),
        ) {
            let expected: Vec<Vec<Option<String>>> =
                rows.iter().map(|row| row.iter().cloned().map(Some).collect()).collect();
            let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            // As pandas and PostgreSQL do, a tab file has null as \N, so no text here is one.
            prop_assume!(rows.iter().flatten().all(|text| text != r"\N"));
            let mut writer = csv::WriterBuilder::new()
                .delimiter(separator).terminator(terminator).quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            writer.write_record(["Typo", "CORRECTED", " domain"]).unwrap();
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            let csv = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let utf16: Vec<u8> =
                "\u{feff}".encode_utf16().chain(csv.encode_utf16()).flat_map(u16::to_le_bytes).collect();
            let objects: Vec<String> = rows
                .iter()
                .map(|[typo, corrected, domain]| {
                    serde_json::json!({"typo": typo, "corrected": corrected, "DOMAIN": domain}).to_string()
                })
                .collect();
            prop_assert_eq!(&texts(&csv, "csv"), &expected);
            prop_assert_eq!(&texts(format!("\u{feff}{csv}"), "txt"), &expected);
            prop_assert_eq!(&texts(utf16, "csv"), &expected);
            prop_assert_eq!(&texts(objects.join("\n"), "jsonl"), &expected);
            prop_assert_eq!(&texts(format!("\u{feff}[{}]", objects.join(",\n")), "json"), &expected);
        }
    }
}
