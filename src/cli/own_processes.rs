//! Processes that the program starts of itself: `autovalidate check-model-folder` and
//! `autovalidate read-parquet-file` read hostile bytes with limits and answer with data,
//! `autovalidate run-nats-server` becomes the embedded server. They are no commands for people, so `--help`
//! doesn't list them.

use std::process::ExitCode;

use crate::broker::embedded::{RUN_SERVER, become_server};
use crate::{run, table_file};

/// Work of such a process. A reading takes its request from standard input, and writes the answer to
/// standard output.
type Work = fn() -> std::io::Result<()>;

/// Returns the work that this process was started for, if the program started it.
pub(super) fn asked() -> Option<Work> {
    match std::env::args_os().nth(1)?.to_str()? {
        run::CHECK_MODEL => Some(run::answer),
        table_file::READ_PARQUET => Some(table_file::answer),
        RUN_SERVER => Some(|| Err(become_server(std::env::args_os().skip(2)))),
        _ => None,
    }
}

pub(super) fn run(work: Work) -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
