//! `autovalidate check-model-folder` and `autovalidate read-parquet-file`: read hostile bytes with limits,
//! and answer with data. The program starts them itself; they are no commands for people, so `--help`
//! doesn't list them.

use std::process::ExitCode;

use crate::{run, table_file};

/// Reads a request from standard input, and writes the answer to standard output.
type Answer = fn() -> std::io::Result<()>;

/// Returns the reading that this process was started for, if it was started for one.
pub(super) fn asked() -> Option<Answer> {
    match std::env::args_os().nth(1)?.to_str()? {
        run::CHECK_MODEL => Some(run::answer),
        table_file::READ_PARQUET => Some(table_file::answer),
        _ => None,
    }
}

pub(super) fn run(answer: Answer) -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
