//! The dataset of a run: its rows, sorted into training pairs and held-out queries.
//!
//! Owns the rules that sort rows, the vote between conflicting rows, the names from `CATALOG`,
//! and the identity of rows of files. Never reads the stream of pairs: callers pass the rows. Never
//! removes a row from the stream: a row that loses a vote stays there, and votes again in later
//! datasets.
//!
//! ```text
//! rows         the rows, sorted into training pairs and held-out queries
//! insert_order the order of rows by their inserts
//! conflicts    the vote between rows that correct the same typo to different names
//! training_pairs  the training pairs, rendered when they are asked for
//! summary      counts, ids and hashes of a dataset
//! row_counts   counts of what became of each row
//! untemplated  rows of domains without a template
//! id_ranges    a set of row ids in a short text form
//! names        names besides those of the rows: their source and their identity
//! rows_file    rows from files, for a run without a queue
//! receipt_rows the rows of a released model, as its receipt names them
//! ```

mod conflicts;
mod id_ranges;
mod insert_order;
mod names;
mod receipt_rows;
mod row_counts;
mod rows;
mod rows_file;
mod summary;
mod training_pairs;
mod untemplated;

pub use conflicts::Conflicts;
pub use id_ranges::{IdRanges, NotIdRanges};
pub use names::{NameList, NameSource};
pub(in crate::run) use receipt_rows::KnownRows;
pub use receipt_rows::RECEIPT;
pub use row_counts::RowCounts;
pub use rows::Dataset;
pub use rows_file::{FileRows, RepeatedIds, read_rows};
pub use summary::{DatasetSummary, Omitted};
pub use training_pairs::{SlipTexts, TrainingPairs};
pub use untemplated::Untemplated;
