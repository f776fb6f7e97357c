//! `autovalidate init`: SQL and environment of a new installation, to copy.

use secrecy::SecretString;
use url::Url;

use crate::ingest::webhook::SECRET_HEADER;
use crate::ingest::{TableAccess, sql};

use super::{CliError, CommandOutcome, print_text};

/// Prints the SQL that prepares a Supabase project, and an environment template.
///
/// Example: autovalidate init --webhook https://trainer.example.com/hooks/supabase > setup.sql
#[derive(clap::Args)]
pub(super) struct Args {
    /// Schema of the table.
    #[arg(long, default_value = "public", value_parser = name)]
    schema: String,
    /// Name of the table.
    #[arg(long, default_value = "typo_training_dataset", value_parser = name)]
    table: String,
    /// Lets the worker read with the app's key (anon or publishable), and so everybody who has it.
    #[arg(long)]
    public_read: bool,
    /// URL of this worker's webhook, which wakes a sleeping worker.
    #[arg(long, value_parser = webhook)]
    webhook: Option<Url>,
}

/// Parses the name of a schema or table. A line break would end the comment that it is shown in.
fn name(text: &str) -> Result<String, String> {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err("give a name without control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Path of the webhook. The tick is served beside it.
const WEBHOOK_PATH: &str = "/hooks/supabase";

/// Parses the value of `--webhook`.
fn webhook(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    match url {
        Some(url) if url.path().ends_with(WEBHOOK_PATH) => Ok(url),
        Some(_) => {
            Err(format!("the worker serves its webhook at {WEBHOOK_PATH}: end the URL with that path"))
        }
        None => Err(format!("give a URL such as https://trainer.example.com{WEBHOOK_PATH}")),
    }
}

/// Line of the environment template for the key that reads the table.
fn key(public_read: bool) -> &'static str {
    match public_read {
        true => "SUPABASE_ANON_KEY=<the project's anon or publishable key>",
        false => "SUPABASE_SERVICE_KEY=<the project's secret key (sb_secret_...) or service_role key>",
    }
}

const ENVIRONMENT: &str = "\
-- Environment of the worker:
--   SUPABASE_URL=https://<project>.supabase.co
--   {key}
--   HF_TOKEN=<a token with write access>
--   HF_REPO=<owner/name of the model repository>
--   TRAIN_THRESHOLD=100
--   NATS_URL=embedded              (or nats://user:password@host:4222; see NATS_CREDS, NATS_CA, NATS_REPLICAS)
--   CONSOLE_TOKEN=<any long random text, to log in to the console; optional>
--   CATALOG=<file or table of the names that corrections must be among; optional>
";

/// Returns further lines of the environment template, for arguments that differ from the defaults.
fn others(args: &Args) -> String {
    let mut lines = String::new();
    if args.schema != "public" {
        lines += &format!("--   SUPABASE_SCHEMA={}\n", args.schema);
    }
    if args.table != "typo_training_dataset" {
        lines += &format!("--   SUPABASE_TABLE={}\n", args.table);
    }
    if args.webhook.is_some() {
        lines += "--   WEBHOOK_SECRET=<any long random text, the same as below>\n";
    }
    lines
}

pub(super) fn run(args: &Args) -> Result<CommandOutcome, CliError> {
    // The SQL needs only the table's names; the URL and the key are not used.
    let url = Url::parse("https://project.supabase.co")
        .map_err(|_| CliError::plain("the example address is malformed", "Report this defect."))?;
    let access = TableAccess {
        url,
        key: SecretString::from(String::new()),
        schema: args.schema.clone(),
        table: args.table.clone(),
        columns: Default::default(),
    };
    let mut parts = vec![
        format!("{}{}", ENVIRONMENT.replace("{key}", key(args.public_read)), others(args)),
        format!(
            "-- A new table, which the app fills with the anon key, with or without a signed-in user. Leave these two\n\
             -- out if the table already exists.\n{}\n{}\n",
            sql::table(&access),
            sql::protection(&access)
        ),
        format!("-- The worker may read it with a service key.\n{}\n", sql::service_grants(&access)),
        format!("-- Row changes over Realtime.\n{}\n", sql::publication(&access)),
    ];
    if args.public_read {
        parts.push(format!(
            "-- Everybody who has the app's key may read the table, and so may a worker with that key.\n{}\n",
            sql::policies(&access)
        ));
    }
    if let Some(webhook) = &args.webhook {
        let tick = webhook
            .join("tick")
            .map_err(|_| CliError::plain("the tick's address is malformed", "Report this defect."))?;
        parts.push(format!(
            "-- Wakes the worker for each new row, and every hour for runs that are due by time and for webhooks that\n\
             -- were lost. Enable Database Webhooks in the project first, and put the secret in its place.\n{}\n",
            sql::calls(&access, webhook, &tick, SECRET_HEADER)
        ));
    }
    print_text(&parts.join("\n"))?;
    Ok(CommandOutcome::Done)
}
