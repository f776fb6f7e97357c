//! `autovalidate check-model-folder`: reads a model folder with limits, and answers with a verdict. Trainers
//! start it for each model; it is no command for people, so `--help` doesn't list it.

use std::process::ExitCode;

use crate::run::{CHECK_MODEL, answer};

/// Returns true when this process was started to read a model folder.
pub(super) fn is_asked() -> bool {
    std::env::args_os().nth(1).is_some_and(|first| first == CHECK_MODEL)
}

pub(super) fn run() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
