//! `autovalidate init`: the files of a new installation, and the SQL that prepares its database.
//!
//! ```text
//! installation  what is known about the installation
//! questions     questions on a terminal
//! env_file      the file `.env`
//! migration     the SQL, and its file
//! fly           the file `fly.toml`
//! files         files that are written once and never replaced
//! apply         the SQL on a PostgreSQL server
//! template      the SQL and the settings as a text to copy
//! report        the closing lines
//! ```

mod apply;
mod env_file;
mod files;
mod fly;
mod installation;
mod migration;
mod questions;
mod report;
mod template;

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use super::{CliError, CommandOutcome, print_json, print_text};
use crate::hub::RepoName;
use crate::ingest::webhook::PATH;
use apply::Database;
use files::{Outcome, Placed};
use installation::Installation;
use migration::Stamp;
use questions::Questions;
use report::Report;

/// Writes the files of a new installation: .env with its settings and secrets, a migration with the SQL
/// for Supabase, and fly.toml.
///
/// Asks on a terminal for what is not given. Keys are never arguments: they come from .env, from
/// SUPABASE_SERVICE_KEY, SUPABASE_ANON_KEY and HF_TOKEN in the environment, or from the answer to a
/// question. A file that is there is never changed: the command shows how it differs.
///
/// Example: autovalidate init --supabase-url https://<project>.supabase.co --hf-repo owner/model
/// --fly-app my-trainer
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder that the files are written to.
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// URL of the Supabase project.
    #[arg(long, value_name = "URL", value_parser = installation::project)]
    supabase_url: Option<Url>,
    /// Model repository, owner/name.
    #[arg(long, value_name = "NAME")]
    hf_repo: Option<RepoName>,
    /// Schema of the table; public unless given.
    #[arg(long, value_parser = name)]
    schema: Option<String>,
    /// Name of the table; typo_training_dataset unless given.
    #[arg(long, value_parser = name)]
    table: Option<String>,
    /// Leaves out the SQL of a new table, with its privileges and policies.
    #[arg(long)]
    existing_table: bool,
    /// Lets the worker read with the app's key (anon or publishable), and so everybody who has it.
    #[arg(long)]
    public_read: bool,
    /// URL of this worker's webhook, which wakes a sleeping worker; with --fly-app, that of the app.
    #[arg(long, value_parser = hook)]
    webhook: Option<Url>,
    /// Name of the app in fly.toml.
    #[arg(long, value_name = "NAME", value_parser = fly::app)]
    fly_app: Option<String>,
    /// Region of the app in fly.toml, such as fra; choose the one nearest to the Supabase project.
    #[arg(long, value_name = "CODE", value_parser = fly::region)]
    fly_region: Option<String>,
    /// Image of the app in fly.toml.
    #[arg(long, value_name = "IMAGE", value_parser = fly::image)]
    image: Option<String>,
    /// Writes no fly.toml.
    #[arg(long, conflicts_with_all = ["fly_app", "fly_region", "image"])]
    no_fly: bool,
    /// Time that the migration's name begins with, as YYYYMMDDHHMMSS; now unless given.
    #[arg(long, value_name = "TIME")]
    stamp: Option<Stamp>,
    /// Also runs the SQL on this PostgreSQL server, in one transaction:
    /// postgres://user@host:5432/database, with the password in PGPASSWORD or in the URL.
    #[arg(long, value_name = "URL", value_parser = hidden)]
    apply: Option<SecretString>,
    /// Prints the SQL and a template of the settings, and writes nothing.
    #[arg(long, conflicts_with_all = ["apply", "json", "stamp"])]
    print: bool,
    /// Prints JSON, and asks nothing.
    #[arg(long)]
    json: bool,
}

/// Parses the name of a schema or table. A line break would end the comment that it is shown in.
fn name(text: &str) -> Result<String, String> {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err("give a name without control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Takes a text that no message of the command line may repeat.
fn hidden(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.to_owned().into())
}

/// Parses the URL of a webhook.
fn hook(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    match url {
        Some(url) if url.path().ends_with(PATH) => Ok(url),
        Some(_) => Err(format!("the worker serves its webhook at {PATH}: end the URL with that path")),
        None => Err(format!("give a URL such as https://trainer.example.com{PATH}")),
    }
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    if args.print {
        print_text(&template::text(&args)?)?;
        return Ok(CommandOutcome::Done);
    }
    // A wrong URL is told before anybody has answered a question.
    let database = args.apply.as_ref().map(Database::new).transpose()?;
    let old = files::read_file(&args.dir.join(env_file::NAME))?.map(|text| env_file::parse(&text));
    let questions = Questions::new(!args.json);
    let installation = Installation::new(&args, old.unwrap_or_default(), &questions)?;
    let sql = installation.parts.sql()?;
    let files = write(&args, &installation, &sql, Timestamp::now())?;
    let applied = match &database {
        Some(database) => {
            database.apply(&installation, &sql).await?;
            Some(database.place())
        }
        None => None,
    };
    let report = Report { installation: &installation, files, applied };
    match args.json {
        true => print_json(&report.json())?,
        false => print_text(&report.text())?,
    }
    Ok(CommandOutcome::Done)
}

/// Writes the files that are not there.
fn write(
    args: &Args,
    installation: &Installation,
    sql: &str,
    now: Timestamp,
) -> Result<Vec<Placed>, CliError> {
    let as_it_is = |line: &str| line.to_owned();
    let env = env_file::text(&installation.values, installation.parts.public_read);
    let mut files =
        vec![files::place(&args.dir, Path::new(env_file::NAME), &env, true, env_file::without_keys)?];
    let stamp = args.stamp.clone().unwrap_or_else(|| Stamp::of(now));
    files.push(match migration::same(&args.dir, sql)? {
        Some(path) => Placed { path, outcome: Outcome::Unchanged },
        None => files::place(&args.dir, &migration::path(&stamp), sql, false, as_it_is)?,
    });
    if let Some(app) = &installation.fly {
        files.push(files::place(&args.dir, Path::new(fly::NAME), &fly::text(app), false, as_it_is)?);
    }
    Ok(files)
}
