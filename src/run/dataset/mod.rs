//! The dataset of a run: its rows, sorted into training pairs and held-out queries.
//!
//! Owns the rules that sort rows, the vote between conflicting rows, the lists of names from
//! `CATALOG`, and the reader for files of rows. Never reads the stream of pairs: callers pass the
//! rows. Never removes a row from the stream: a row that loses a vote stays there, and votes again
//! in later datasets.
//!
//! ```text
//! rows         the rows, sorted into training pairs and held-out queries
//! conflicts    the vote between rows that correct the same typo to different names
//! summary      counts, ids and hashes of a dataset
//! id_ranges    a set of row ids in a short text form
//! name_lists   names besides those of the rows: their source, and the stored lists
//! rows_file    rows from a file, for a run without a queue
//! ```

mod conflicts;
mod id_ranges;
mod name_lists;
mod rows;
mod rows_file;
mod summary;

pub use conflicts::Conflicts;
pub use id_ranges::{IdRanges, NotIdRanges};
pub(in crate::run) use name_lists::{LISTS, NameLists};
pub use name_lists::{NameList, NameSource};
pub use rows::Dataset;
pub use rows_file::{RowsFileError, read_rows};
pub use summary::DatasetSummary;
