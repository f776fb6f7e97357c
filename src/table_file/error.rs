//! Problems of a file that holds a table. None of their texts has a value of the file: a value may be
//! what a person typed.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{MAX_BYTES, MAX_RECORDS};
use crate::failure::{Failure, RetryDirective};

/// Place of a record in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// The line on which the record begins, from 1.
    Line(u64),
    /// A record of a JSON array: its line, and its number within the array, both from 1.
    Element(u64, u64),
    /// A row of a Parquet file, from 1.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(formatter, "line {line}"),
            Self::Element(line, number) => write!(formatter, "element {number} (line {line})"),
            Self::Row(row) => write!(formatter, "row {row}"),
        }
    }
}

/// Error for a file that can't be read as a table.
#[derive(Debug, thiserror::Error)]
pub enum TableFileError {
    /// The file can't be opened or read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A record can't be read.
    #[error("{place} of {}: {problem}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Place of the record.
        place: Place,
        /// The problem.
        problem: Problem,
    },
    /// The file as a whole can't be read.
    #[error("{} {problem}", path.display())]
    Whole {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: Problem,
    },
}

impl Failure for TableFileError {
    fn directive(&self) -> RetryDirective {
        RetryDirective::Person
    }

    fn advice(&self) -> String {
        match self {
            Self::File { .. } => "Check the path, and that this user may read the file.".to_owned(),
            Self::Record { problem, .. } | Self::Whole { problem, .. } => problem.advice(),
        }
    }
}

/// Problem of a file or of one of its records.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum Problem {
    /// The file is larger than [`MAX_BYTES`].
    #[error("is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// The file has more than [`MAX_RECORDS`] records.
    #[error("has more than {MAX_RECORDS} records")]
    TooMany,
    /// The file has a format without a reader.
    #[error("is {kind}")]
    OtherFormat {
        /// The format.
        kind: Cow<'static, str>,
    },
    /// The text is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The text is not UTF-16, as its start says.
    #[error("not UTF-16, though the file begins as UTF-16")]
    NotUtf16,
    /// The file has no header, and so no record.
    #[error("is empty")]
    Empty,
    /// A wanted column is missing.
    #[error("none of the {columns} columns is named {name}")]
    Missing {
        /// Name of the wanted column.
        name: String,
        /// Number of columns.
        columns: usize,
    },
    /// Two columns have the name of a wanted one.
    #[error("two columns are named {name}")]
    Twice {
        /// Name of the wanted column.
        name: String,
    },
    /// A record has more or fewer columns than the header.
    #[error("{columns} columns, and the header has {header}")]
    Width {
        /// Number of columns of the record.
        columns: usize,
        /// Number of columns of the header.
        header: usize,
    },
    /// A double quote is never closed.
    #[error("a double quote is never closed")]
    OpenQuote,
    /// The text is not JSON.
    #[error("not JSON (at column {column})")]
    NotJson {
        /// Column of the error, from 1.
        column: usize,
    },
    /// A JSON value is not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A value is a list, an object, a truth value or binary data.
    #[error("the value of {name} is neither a text nor a number")]
    NotAText {
        /// Name of the wanted column.
        name: String,
    },
    /// A list of names has an empty one.
    #[error("holds no name")]
    NoName,
    /// The file is named like a Parquet file, and isn't one.
    #[error("is not a Parquet file")]
    NotParquet,
    /// The Parquet file is damaged, encrypted, or of a kind without a reader.
    #[error("can't be read as a Parquet file: {0}")]
    Parquet(Cow<'static, str>),
    /// A column of the Parquet file is compressed with a method without a reader.
    #[error("has a column that is compressed with {0}")]
    Codec(Cow<'static, str>),
    /// The process that decodes the Parquet file was ended by a limit.
    #[error("takes too much memory or time to read as a Parquet file")]
    ParquetLimits,
    /// The process that decodes a Parquet file can't be started.
    #[error("can't be read as a Parquet file, because no process can be started for it: {0}")]
    NoReader(String),
}

impl Problem {
    /// Returns one sentence on the remedy.
    pub(super) fn advice(&self) -> String {
        match self {
            Self::TooLarge | Self::TooMany => "Split the file, and leave out what isn't needed.",
            Self::OtherFormat { .. } => "Save the table as CSV (UTF-8), JSON or Parquet, uncompressed.",
            Self::NotUtf8 => "Save the file as UTF-8; in Excel, the file type is \"CSV UTF-8\".",
            Self::Empty => "Export the table again, with the names of its columns in the first line.",
            Self::NotUtf16 => "Save the file again, as UTF-8: it is damaged.",
            Self::Missing { name, .. } => {
                return format!(
                    "Name the columns in the first line, one of them {name}, and separate columns by commas, \
                     semicolons or tabs."
                );
            }
            Self::Twice { .. } => "Rename or remove one of the two columns.",
            Self::Width { .. } => "Put a text that has the separator in it into double quotes.",
            Self::OpenQuote => {
                "Close the quote, or write a double quote that belongs to a text twice, within quotes."
            }
            Self::NotJson { .. } => "Write one JSON array, or one JSON object on each line.",
            Self::NotAnObject | Self::NotAText { .. } => {
                "Write one object for each row, with a text in each field (in pandas, orient=\"records\")."
            }
            Self::NoName => "Fill in the name, or remove the record.",
            Self::NotParquet | Self::Parquet(_) | Self::ParquetLimits => {
                "Write the file again, or save the table as CSV (UTF-8)."
            }
            Self::NoReader(_) => "Check that this machine has free memory and room for processes.",
            Self::Codec(_) => "Write the file with the compression snappy or zstd, or without one.",
        }
        .to_owned()
    }
}

/// A problem, and the place of its record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fault {
    pub(super) place: Option<Place>,
    pub(super) problem: Problem,
}

impl Fault {
    pub(super) fn at(place: Place, problem: Problem) -> Self {
        Self { place: Some(place), problem }
    }

    /// Returns the error for this file.
    pub(super) fn of(self, path: &Path) -> TableFileError {
        let (path, problem) = (path.to_owned(), self.problem);
        match self.place {
            Some(place) => TableFileError::Record { path, place, problem },
            None => TableFileError::Whole { path, problem },
        }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self { place: None, problem }
    }
}
