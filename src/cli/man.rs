//! `autovalidate man`: manual pages.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;

use super::{Cli, CliError, CommandOutcome, write_file};

/// Writes manual pages: autovalidate.1, and one for each command.
///
/// Example: autovalidate man --out ~/.local/share/man/man1
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder for the pages.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<CommandOutcome, CliError> {
    let mut root = Cli::command().disable_help_subcommand(true);
    // Gives options that all commands have to each command.
    root.build();
    write(&root, args)?;
    Ok(CommandOutcome::Done)
}

/// Writes the page of a command and those of the commands below it.
fn write(command: &clap::Command, args: &Args) -> Result<(), CliError> {
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text).map_err(|error| CliError::plain(error.to_string(), "Report this defect."))?;
    write_file(&args.out.join(page.get_filename()), &text)?;
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .try_for_each(|command| write(command, args))
}
