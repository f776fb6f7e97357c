//! The database webhook's call, made as the database makes it. It only asks the worker for a sweep.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::answer::read_body;
use crate::failure::{Failure, RetryDirective};
use crate::ingest::TableAccess;
use crate::ingest::webhook::{HOOKS_OFF, PATH, SECRET_HEADER};

/// Time of a call. A machine that sleeps starts for it.
const CALL_TIME: Duration = Duration::from_secs(30);
/// Number of calls while the worker says that it is about to exit, and the pause between two.
const CALLS: usize = 5;
const PAUSE: Duration = Duration::from_secs(2);
/// Largest answer that is read, in bytes.
const MOST: usize = 4 << 10;

/// Answer of a worker that has taken the call.
#[derive(Debug, Clone)]
pub struct WebhookAnswer {
    /// Time of the call.
    pub after: Duration,
    /// True when the secret has travelled over the network without TLS.
    pub in_the_clear: bool,
}

/// Reason why the call was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WebhookProbeError {
    /// Nothing answers.
    #[error("{host} can't be reached")]
    Unreachable {
        /// Host and port of the address.
        host: String,
        /// The failure.
        #[source]
        source: reqwest::Error,
    },
    /// The worker has another secret.
    #[error("the worker has another WEBHOOK_SECRET (HTTP 401)")]
    Secret,
    /// The worker has no secret.
    #[error("the worker answers, but has no WEBHOOK_SECRET (HTTP 404)")]
    Off,
    /// The worker reads another table.
    #[error("the worker reads another table than {table} (HTTP 422)")]
    OtherTable {
        /// Name of the table.
        table: String,
    },
    /// Something answers at the host, but no worker at this path.
    #[error("{host} answers with HTTP {status}, which is no worker's answer at {path}")]
    NoWorker {
        /// Host and port of the address.
        host: String,
        /// Path of the address.
        path: String,
        /// HTTP status.
        status: u16,
    },
    /// The address answers with another address, to which a database webhook does not go.
    #[error("{host} answers with a redirect (HTTP {status}), which database webhooks don't follow")]
    Moved {
        /// Host and port of the address.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// The worker, or a proxy before it, can't take the call now.
    #[error("{host} answers with HTTP {status}")]
    Unavailable {
        /// Host and port of the address.
        host: String,
        /// HTTP status.
        status: u16,
    },
}

impl Failure for WebhookProbeError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Unreachable { .. } | Self::Unavailable { .. } => RetryDirective::Retry,
            Self::Secret
            | Self::Off
            | Self::OtherTable { .. }
            | Self::NoWorker { .. }
            | Self::Moved { .. } => RetryDirective::Person,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::NoWorker { .. } => return format!("Give the worker's address with the path {PATH}."),
            Self::Unreachable { .. } => {
                "Check the host, its certificate, and that the worker runs behind it."
            }
            Self::Secret => "Set the same WEBHOOK_SECRET on the worker, here, and in the SQL of the webhook.",
            Self::Off => "Set WEBHOOK_SECRET on the worker, whose role must be listener or all.",
            Self::OtherTable { .. } => {
                "Set the same SUPABASE_SCHEMA and SUPABASE_TABLE here and on the worker."
            }
            Self::Moved { .. } => "Give the address that the redirect leads to, for example with https.",
            Self::Unavailable { .. } => {
                "Try again; if it stays so, look at the worker's log and at the proxy before it."
            }
        }
        .to_owned()
    }
}

/// Calls a worker's webhook as the database does for an inserted row. The row has no id, so that the worker
/// sweeps and looks for no row.
///
/// # Errors
/// [`WebhookProbeError`].
pub async fn call_webhook(
    url: &Url,
    secret: &SecretString,
    access: &TableAccess,
) -> Result<WebhookAnswer, WebhookProbeError> {
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
    let unreachable = |source: reqwest::Error| WebhookProbeError::Unreachable {
        host: host.clone(),
        source: source.without_url(),
    };
    let client = Client::builder().timeout(CALL_TIME).redirect(reqwest::redirect::Policy::none()).build();
    let client = client.map_err(unreachable)?;
    let columns = &access.columns;
    let body = json!({
        "type": "INSERT",
        "schema": access.schema,
        "table": access.table,
        "record": { columns.id.as_str(): null },
        "old_record": null,
    });
    let mut calls = 1;
    loop {
        let begun = Instant::now();
        let request = client.post(url.clone()).header(SECRET_HEADER, secret.expose_secret()).json(&body);
        let response = request.send().await.map_err(unreachable)?;
        let (status, asks_again) = (response.status(), response.headers().contains_key("retry-after"));
        let body = read_body(response, MOST).await.unwrap_or_default();
        match status {
            StatusCode::ACCEPTED => {
                let in_the_clear = url.scheme() == "http" && !is_local(url);
                return Ok(WebhookAnswer { after: begun.elapsed(), in_the_clear });
            }
            // It exits because it was idle, and is started by the next call.
            StatusCode::SERVICE_UNAVAILABLE if asks_again && calls < CALLS => sleep(PAUSE).await,
            _ => return Err(refused(url, host, status, &body, access)),
        }
        calls += 1;
    }
}

/// Returns the reason behind an answer.
fn refused(
    url: &Url,
    host: String,
    status: StatusCode,
    body: &[u8],
    access: &TableAccess,
) -> WebhookProbeError {
    let code = status.as_u16();
    match status {
        StatusCode::UNAUTHORIZED => WebhookProbeError::Secret,
        StatusCode::NOT_FOUND if body.starts_with(HOOKS_OFF.as_bytes()) => WebhookProbeError::Off,
        StatusCode::UNPROCESSABLE_ENTITY => WebhookProbeError::OtherTable { table: access.table.clone() },
        _ if status.is_redirection() => WebhookProbeError::Moved { host, status: code },
        _ if status.is_server_error() => WebhookProbeError::Unavailable { host, status: code },
        _ => WebhookProbeError::NoWorker { host, path: url.path().to_owned(), status: code },
    }
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
