//! The rows of a run, and what becomes of each.
//!
//! ```text
//! rows         rows sorted into what is trained on and what is held out
//! conflicts    the same typo corrected to different names
//! summary      counts, ids and hashes of a dataset
//! id_ranges    a set of row ids, short to write down
//! name_lists   names beside those of the rows, and the lists of them that runs have read
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
