//! `autovalidate completions`: completions for shells.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, CliError, CommandOutcome, print_text};

/// Prints the completions of a shell.
///
/// Example: autovalidate completions bash > ~/.local/share/bash-completion/completions/autovalidate
#[derive(clap::Args)]
pub(super) struct Args {
    /// Shell that completes the program's commands and options.
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<CommandOutcome, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "autovalidate", &mut script);
    print_text(&String::from_utf8_lossy(&script))?;
    Ok(CommandOutcome::Done)
}
