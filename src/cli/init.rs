//! `autovalidate init`: what a new installation needs, to copy.

use secrecy::SecretString;
use url::Url;

use crate::supabase::webhook::SECRET_HEADER;
use crate::supabase::{Access, sql};

use super::{CliError, Ending};

/// Prints the SQL that prepares a Supabase project, and an environment template.
///
/// Example: autovalidate init --webhook https://trainer.example.com/hooks/supabase > setup.sql
#[derive(clap::Args)]
pub(super) struct Args {
    /// Schema of the table.
    #[arg(long, default_value = "public")]
    schema: String,
    /// Name of the table.
    #[arg(long, default_value = "typo_training_dataset")]
    table: String,
    /// Address of this worker's webhook, to wake it when it sleeps.
    #[arg(long)]
    webhook: Option<Url>,
}

const ENVIRONMENT: &str = "\
-- Environment of the worker:
--   SUPABASE_URL=https://<project>.supabase.co
--   SUPABASE_ANON_KEY=<the project's anon or publishable key>
--   HF_TOKEN=<a token with write access>
--   HF_REPO=<owner/name of the model repository>
--   TRAIN_THRESHOLD=100
--   NATS_URL=embedded              (or nats://host:4222 with NATS_CREDS, NATS_TOKEN, NATS_CA, NATS_REPLICAS)
--   CATALOG=<file or table of the names corrections must be among; optional>
--   WEBHOOK_SECRET=<any long random text, the same as in the trigger below>
";

pub(super) fn run(args: &Args) -> Result<Ending, CliError> {
    // The SQL needs the table's name only; URL and key are never looked at.
    let url = Url::parse("https://project.supabase.co")
        .map_err(|_| CliError::plain("the example address is malformed", "Report this."))?;
    let access = Access {
        url,
        key: SecretString::from(String::new()),
        schema: args.schema.clone(),
        table: args.table.clone(),
        columns: Default::default(),
    };
    println!("{ENVIRONMENT}");
    println!("-- The table (leave this out if it is there already).\n{}\n", sql::table(&access));
    println!("-- Who may read it.\n{}\n", sql::policies(&access));
    println!("-- Row changes over Realtime.\n{}", sql::publication(&access));
    if let Some(webhook) = &args.webhook {
        println!("\n-- Wakes the worker.\n{}", sql::webhook(&access, webhook, SECRET_HEADER));
    }
    Ok(Ending::Done)
}
