//! The SQL of a new installation: as a migration of the Supabase CLI, and as a text to copy.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use url::Url;

use super::files::read_file;
use crate::cli::CliError;
use crate::ingest::webhook::SECRET_HEADER;
use crate::ingest::{TableAccess, sql};

/// Folder of the Supabase CLI's migrations.
const FOLDER: &str = "supabase/migrations";
/// End of the names of our migrations.
const SUFFIX: &str = "_autovalidate.sql";
/// Form of the time that a migration's name begins with.
const STAMP: &str = "%Y%m%d%H%M%S";

/// Time that a migration's name begins with, as the Supabase CLI writes it: `YYYYMMDDHHMMSS` in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(String);

impl Stamp {
    /// Returns the stamp of a time.
    pub(super) fn of(time: Timestamp) -> Self {
        Self(time.strftime(STAMP).to_string())
    }
}

impl std::str::FromStr for Stamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 14 && text.chars().all(|c| c.is_ascii_digit());
        match digits && DateTime::strptime(STAMP, text).is_ok() {
            true => Ok(Self(text.to_owned())),
            false => Err("give a time in UTC as YYYYMMDDHHMMSS".to_owned()),
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Parts of the SQL.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// Schema of the table.
    pub(super) schema: String,
    /// Name of the table.
    pub(super) table: String,
    /// True for a table that is in use: it keeps its columns, privileges and policies.
    pub(super) existing: bool,
    /// True when everybody who has the app's key may read.
    pub(super) public_read: bool,
    /// URL of the worker's webhook.
    pub(super) webhook: Option<Url>,
}

impl Parts {
    /// Returns access to the table, of which only the names are used.
    pub(super) fn access(&self) -> Result<TableAccess, CliError> {
        let url = Url::parse("https://project.supabase.co")
            .map_err(|_| CliError::plain("the example address is malformed", "Report this defect."))?;
        let access = TableAccess::new(url, String::new().into());
        Ok(TableAccess { schema: self.schema.clone(), table: self.table.clone(), ..access })
    }

    /// Returns the SQL. Running it again changes nothing.
    pub(super) fn sql(&self) -> Result<String, CliError> {
        let access = self.access()?;
        let mut parts = Vec::new();
        if !self.existing {
            parts.push(format!(
                "-- A new table, which the app fills with the anon key, with or without a signed-in user. Leave these two\n\
                 -- out if the table already exists.\n{}\n{}\n",
                sql::table(&access),
                sql::protection(&access)
            ));
        }
        parts.push(format!(
            "-- The worker may read it with a service key.\n{}\n",
            sql::service_grants(&access)
        ));
        parts.push(format!("-- Row changes over Realtime.\n{}\n", sql::publication(&access)));
        if self.public_read {
            parts.push(format!(
                "-- Everybody who has the app's key may read the table, and so may a worker with that key.\n{}\n",
                sql::policies(&access)
            ));
        }
        if let Some(webhook) = &self.webhook {
            let tick = webhook
                .join("tick")
                .map_err(|_| CliError::plain("the tick's address is malformed", "Report this defect."))?;
            parts.push(format!(
                "-- Wakes the worker for each new row, and every hour for runs that are due by time and for webhooks that\n\
                 -- were lost. Enable Database Webhooks in the project first, and put the secret in its place.\n{}\n",
                sql::calls(&access, webhook, &tick, SECRET_HEADER)
            ));
        }
        Ok(parts.join("\n"))
    }
}

/// Returns the path of a migration below the installation's folder.
pub(super) fn path(stamp: &Stamp) -> PathBuf {
    Path::new(FOLDER).join(format!("{stamp}{SUFFIX}"))
}

/// Returns the path of a migration that is there and has this SQL, whatever its stamp.
pub(super) fn same(folder: &Path, sql: &str) -> Result<Option<PathBuf>, CliError> {
    let Ok(entries) = std::fs::read_dir(folder.join(FOLDER)) else { return Ok(None) };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut ours: Vec<_> = names.filter(|name| name.to_string_lossy().ends_with(SUFFIX)).collect();
    ours.sort();
    for name in ours {
        let path = Path::new(FOLDER).join(name);
        if read_file(&folder.join(&path))?.is_some_and(|text| text == sql) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_a_time_as_the_supabase_cli_writes_it() {
        let time: Timestamp = "2026-01-02T03:04:05.999Z".parse().unwrap();
        assert_eq!(Stamp::of(time).to_string(), "20260102030405");
        assert_eq!("20260102030405".parse(), Ok(Stamp::of(time)));
        for wrong in
            ["", "2026010203040", "202601020304055", "20261302030405", "2026-1-2 3:4:5", "+0260102030405"]
        {
            assert!(wrong.parse::<Stamp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_table_in_use_keeps_its_privileges() {
        let parts = Parts {
            schema: "public".to_owned(),
            table: "typos".to_owned(),
            existing: true,
            public_read: false,
            webhook: None,
        };
        let sql = parts.sql().unwrap();
        assert!(
            !sql.contains("create table") && !sql.contains("revoke") && !sql.contains("row level security")
        );
        assert!(sql.contains("to service_role") && sql.contains("supabase_realtime"));
    }
}
