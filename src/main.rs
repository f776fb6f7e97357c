//! Entry point of the program: runs the command line and returns its exit code. The library holds
//! everything else.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    autovalidate::cli::main()
}
