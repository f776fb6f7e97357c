//! The SQL on a PostgreSQL server: in one transaction, over TLS unless the server is on this machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use super::installation::Installation;
use crate::cli::CliError;
use crate::failure::chain;
use crate::ingest::sql::SECRET_PLACEHOLDER;
use crate::redaction::redact;

/// Time for the connection.
const CONNECT_TIME: Duration = Duration::from_secs(15);
/// Time for the SQL. It waits for locks of the table's users, but must not hold others up for long.
const SQL_TIME: Duration = Duration::from_secs(60);
/// Variable of libpq that holds the password when the URL has none.
const PASSWORD: &str = "PGPASSWORD";
const EXAMPLE: &str = "postgres://user@host:5432/database";

/// A database that the SQL is to run on.
pub(super) struct Database {
    config: Config,
    tls: Option<ClientConfig>,
}

impl Database {
    /// Reads a PostgreSQL URL. `sslmode` and `sslrootcert` mean what they mean to libpq, except that TLS
    /// always checks the server's certificate, and is left out only for a server on this machine or on
    /// request (`sslmode=disable`).
    ///
    /// # Errors
    /// [`CliError::Argument`], whose message has nothing of the URL, because it may hold a password.
    pub(super) fn new(url: &SecretString) -> Result<Self, CliError> {
        let wrong = || {
            CliError::argument(
                "the value of --apply is no URL of a PostgreSQL server",
                format!(
                    "Give one such as {EXAMPLE}, with special characters of the password percent-encoded."
                ),
            )
        };
        let mut url = Url::parse(url.expose_secret()).map_err(|_| wrong())?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(wrong());
        }
        let mut mode = None;
        let mut authority = None;
        let mut others = Vec::new();
        for (name, value) in url.query_pairs().into_owned() {
            match name.as_str() {
                "sslmode" => mode = Some(value),
                "sslrootcert" => authority = Some(PathBuf::from(value)),
                _ => others.push((name, value)),
            }
        }
        url.set_query(None);
        if !others.is_empty() {
            url.query_pairs_mut().extend_pairs(others);
        }
        let mut config: Config = url.as_str().parse().map_err(|_| wrong())?;
        if config.get_password().is_none()
            && let Ok(password) = std::env::var(PASSWORD)
        {
            config.password(password);
        }
        let encrypted = match mode.as_deref() {
            Some("disable") => false,
            Some("require" | "verify-ca" | "verify-full") => true,
            None | Some("allow" | "prefer") => authority.is_some() || !is_local(&config),
            Some(_) => {
                let advice = "It may be disable, require, verify-ca or verify-full.";
                return Err(CliError::argument("the URL of --apply has an unknown sslmode", advice));
            }
        };
        config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT_TIME).application_name("autovalidate init");
        let tls = if encrypted { Some(tls(authority)?) } else { None };
        Ok(Self { config, tls })
    }

    /// Returns the place of the database, without user and password.
    pub(super) fn place(&self) -> String {
        let host = self.config.get_hosts().first().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let database = self.config.get_dbname().or_else(|| self.config.get_user()).unwrap_or("postgres");
        format!("{}/{database}", host.unwrap_or_default())
    }

    /// Runs the SQL, all of it or nothing, with the webhook's secret in its place.
    pub(super) async fn apply(&self, installation: &Installation, sql: &str) -> Result<(), CliError> {
        let connected = match &self.tls {
            Some(tls) => self.connect(MakeRustlsConnect::new(tls.clone())).await,
            None => self.connect(tokio_postgres::NoTls).await,
        };
        let mut client = connected?;
        let secret = installation.values.get("WEBHOOK_SECRET").map_or("", |secret| secret);
        let sql = sql.replace(SECRET_PLACEHOLDER, secret);
        match timeout(SQL_TIME, transact(&mut client, installation, &sql)).await {
            Ok(result) => result,
            Err(_) => Err(CliError::plain(
                format!("the SQL did not end within {SQL_TIME:?}, and nothing was changed"),
                "Try again when nobody else changes the table, or run the migration in the project's SQL editor.",
            )),
        }
    }

    async fn connect<T>(&self, tls: T) -> Result<Client, CliError>
    where
        T: tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket> + Send,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as tokio_postgres::tls::TlsConnect<tokio_postgres::Socket>>::Future: Send,
    {
        let failed = |why: String| {
            CliError::plain(
                format!("can't connect to {}: {why}", self.place()),
                "Check the URL and the password. A hosted project's own host has IPv6 only; its session pooler has IPv4, \
                 too. For its certificate, add ?sslrootcert=<file> with the one from the project's database settings.",
            )
        };
        match timeout(CONNECT_TIME, self.config.connect(tls)).await {
            Ok(Ok((client, connection))) => {
                // Ends when the client is dropped.
                tokio::spawn(connection);
                Ok(client)
            }
            Ok(Err(error)) => Err(failed(words(&error))),
            Err(_) => Err(failed(format!("no answer within {CONNECT_TIME:?}"))),
        }
    }
}

async fn transact(client: &mut Client, installation: &Installation, sql: &str) -> Result<(), CliError> {
    let failed = |error: tokio_postgres::Error| {
        CliError::plain(
            format!("the SQL failed, and nothing was changed: {}", words(&error)),
            "Remove the cause, then run this again. `autovalidate init --print` shows the SQL.",
        )
    };
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute("set local lock_timeout = '15s'").await.map_err(failed)?;
    if !installation.parts.existing {
        refuse_strange_table(&transaction, installation).await?;
    }
    transaction.batch_execute(sql).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// Refuses a table that this SQL has not made: its privileges and policies would be replaced, which could
/// lock out those who use it.
async fn refuse_strange_table(
    transaction: &tokio_postgres::Transaction<'_>,
    installation: &Installation,
) -> Result<(), CliError> {
    let access = installation.parts.access()?;
    let policy = crate::ingest::sql::app_policy(&access);
    let question = "select exists (select from pg_policies where schemaname = $1 and tablename = $2 and policyname = $3) \
                    from pg_class join pg_namespace on pg_namespace.oid = relnamespace where nspname = $1 and relname = $2";
    let row = transaction.query_opt(question, &[&access.schema, &access.table, &policy]).await;
    let failed = |error: tokio_postgres::Error| {
        CliError::plain(
            format!("the table could not be looked up, and nothing was changed: {}", words(&error)),
            "Use the URL of a direct connection or of the session pooler.",
        )
    };
    match row.map_err(failed)?.map(|row| row.try_get::<_, bool>(0)).transpose().map_err(failed)? {
        Some(false) => Err(CliError::plain(
            format!(
                "{}.{} exists, and this command has not made it; nothing was changed",
                access.schema, access.table
            ),
            "Give --existing-table, which leaves the table's columns, privileges and policies as they are.",
        )),
        Some(true) | None => Ok(()),
    }
}

/// Returns the server's words for an error, or those of the connection.
fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => redact(&format!("{} ({})", error.message(), error.code().code())).into_owned(),
        None => redact(&chain(error)).into_owned(),
    }
}

/// Returns true when every host is this machine, by address or by a socket's path.
fn is_local(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    })
}

/// Returns the configuration of TLS: it trusts the authority in this file, or those of the system.
fn tls(authority: Option<PathBuf>) -> Result<ClientConfig, CliError> {
    let failed = |what: String| {
        CliError::argument(
            what,
            "Give a readable PEM file with sslrootcert, or leave it out for the system's authorities.",
        )
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(format!("TLS can't be set up: {error}")))?;
    let Some(path) = authority else {
        let verified = builder.with_platform_verifier();
        let verified =
            verified.map_err(|error| failed(format!("the system's authorities can't be read: {error}")))?;
        return Ok(verified.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates =
        certificates.map_err(|error| failed(format!("{} can't be read: {error}", path.display())))?;
    roots.add_parsable_certificates(certificates);
    match roots.is_empty() {
        true => Err(failed(format!("{} has no certificate", path.display()))),
        false => Ok(builder.with_root_certificates(roots).with_no_client_auth()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    fn database(url: &str) -> Result<Database, CliError> {
        Database::new(&url.to_owned().into())
    }

    #[test]
    fn a_server_elsewhere_is_reached_over_tls_only() {
        for (url, encrypted) in [
            ("postgres://u:p@db.project.supabase.co:5432/postgres", true),
            ("postgresql://u@db.project.supabase.co/postgres?sslmode=prefer", true),
            ("postgres://u@db.example/x?sslmode=disable", false),
            ("postgres://u@127.0.0.1:54322/postgres", false),
            ("postgres://u@[::1]/postgres", false),
            ("postgres://u@localhost/postgres?sslmode=require", true),
            ("postgres:///postgres?host=/run/postgresql&user=u", false),
        ] {
            let database = database(url).unwrap();
            assert_eq!(database.tls.is_some(), encrypted, "{url}");
            assert_eq!(database.config.get_ssl_mode() == SslMode::Require, encrypted, "{url}");
        }
        assert_eq!(database("postgres://u:p@db.example/x").unwrap().place(), "db.example/x");
    }

    #[test]
    fn no_message_repeats_the_password() {
        for url in [
            "s3cr3t",
            "https://u:s3cr3t@host/db",
            "postgres://u:s3cr3t@host/db?port=s3cr3t",
            "postgres://u:s3cr3t@host/db?s3cr3t=1",
            "postgres://u:s3cr3t@host:99999/db",
            "postgres://u:s3cr3t@host/db?sslmode=s3cr3t",
            "postgres://u:s3cr3t@host/db?sslrootcert=/nowhere",
        ] {
            let Err(error) = database(url) else { panic!("{url} was accepted") };
            assert!(!format!("{}{error:?}{}", chain(&error), error.advice()).contains("s3cr3t"), "{url}");
            assert_eq!(error.exit_code(), 2, "{url}");
        }
    }
}
