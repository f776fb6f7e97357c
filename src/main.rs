//! Boots the program: command line, exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    autovalidate::cli::main()
}
