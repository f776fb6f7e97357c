//! Columns of a Parquet file.
//!
//! The library that decodes them takes as much memory as numbers in the file say: a file of some hundred
//! bytes can ask for gigabytes, and a failed allocation ends a process. A [confined](crate::confined) process
//! therefore decodes the file, and hands the records over. See
//! [decision 0092](../../../docs/decisions/0092-parquet-is-read-by-another-process.md).
//!
//! ```text
//! decode   from the file's bytes to records, in the process that may die of it
//! process  both ends of the pipe between the processes
//! ```

mod decode;
mod process;

use std::path::PathBuf;

use super::columns::Columns;
use super::error::{Fault, Problem};
use super::{MAX_BYTES, Place, Record};
use crate::confined::{Limits, this_program};

pub(crate) use process::answer;

/// First argument of the program that makes it the process that decodes a Parquet file.
pub(crate) const READ_PARQUET: &str = "read-parquet-file";

/// Process that decodes Parquet files.
#[derive(Debug, Clone)]
pub struct ParquetReader(Option<Confined>);

/// A process of this program with limits.
#[derive(Debug, Clone)]
struct Confined {
    program: PathBuf,
    limits: Limits,
}

impl ParquetReader {
    /// Returns a reader that starts the program of this process once more, with limits. This process must
    /// be one of the program `autovalidate`.
    pub fn of_this_program() -> Self {
        Self::new(this_program())
    }

    /// Returns a reader that starts `program`, which is the program `autovalidate`, with limits.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self(Some(Confined { program: program.into(), limits: Limits::default() }))
    }

    /// Returns a reader that decodes in this process, without limits: for tests and the fuzzer.
    pub fn in_this_process() -> Self {
        Self(None)
    }

    /// Returns the reader with other limits, if it starts a process.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self(self.0.map(|confined| Confined { limits, ..confined }))
    }

    /// Reads all records of a file.
    pub(super) fn records(
        &self,
        bytes: Vec<u8>,
        columns: &Columns<'_>,
        take: &mut dyn FnMut(Record),
    ) -> Result<(), Fault> {
        let mut number = 0;
        let mut left = MAX_BYTES;
        let mut add = |values: Values| {
            number += 1;
            // A long text that is stored once may be the value of every row.
            let size: usize = values.iter().flatten().map(String::len).sum();
            left = left.checked_sub(size as u64).ok_or(Problem::TooLarge)?;
            take(Record { number, place: Place::Row(number), values });
            Ok(())
        };
        match &self.0 {
            Some(confined) => confined.decode(&bytes, columns, &mut add)?,
            None => decode::decode(bytes, columns, &mut add)?,
        }
        Ok(())
    }
}

/// Values of a record, in the order of the wanted columns.
type Values = Vec<Option<String>>;

/// Taker of each record's values. An error ends the reading.
type Take<'t> = &'t mut dyn FnMut(Values) -> Result<(), Fault>;
