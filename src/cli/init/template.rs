//! The SQL and the settings as one text to copy, for `--print`.

use super::migration::Parts;
use super::{Args, CliError};
use crate::ingest::{DEFAULT_SCHEMA, DEFAULT_TABLE};

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
fn others(parts: &Parts) -> String {
    let mut lines = String::new();
    if parts.schema != DEFAULT_SCHEMA {
        lines += &format!("--   SUPABASE_SCHEMA={}\n", parts.schema);
    }
    if parts.table != DEFAULT_TABLE {
        lines += &format!("--   SUPABASE_TABLE={}\n", parts.table);
    }
    if parts.webhook.is_some() {
        lines += "--   WEBHOOK_SECRET=<any long random text, the same as below>\n";
    }
    lines
}

/// Returns the text.
pub(super) fn text(args: &Args) -> Result<String, CliError> {
    let parts = Parts {
        schema: args.schema.clone().unwrap_or_else(|| DEFAULT_SCHEMA.to_owned()),
        table: args.table.clone().unwrap_or_else(|| DEFAULT_TABLE.to_owned()),
        existing: args.existing_table,
        public_read: args.public_read,
        webhook: args.webhook.clone(),
    };
    let environment = ENVIRONMENT.replace("{key}", key(args.public_read));
    Ok(format!("{environment}{}\n{}", others(&parts), parts.sql()?))
}
