//! A row that is inserted through PostgREST, read back, seen by Realtime, and removed.
//!
//! Its typo is its correction, so a worker that sees it refuses it: there is nothing to learn. All rows
//! of this kind begin with the same words, by which a later probe removes what an interrupted one left.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::answer::read_body;
use crate::failure::{Failure, RetryDirective};
use crate::ingest::{
    AnswerKind, DisconnectReason, ErrorAnswer, Notice, RestError, Table, TableAccess, rest_headers, sql,
    watch_inserts,
};
use crate::row_identity::RowId;

/// Words that the texts of all these rows begin with.
pub(crate) const MARK: &str = "autovalidate-doctor-probe-";
/// Domain of the row: one that a table with a fixed list of domains is likely to have.
const DOMAIN: &str = "brand";
/// Time of a request.
const REQUEST_TIME: Duration = Duration::from_secs(20);
/// Time in which Realtime shows a row. A row that is written right after the subscription may be missed,
/// so a second one is written after this time.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// Number of rows that are written until one is shown.
const ROWS: usize = 2;
/// Number of tries to remove the rows, and the pause between two.
const REMOVALS: usize = 4;
const PAUSE: Duration = Duration::from_secs(1);
/// Largest answer that is read, in bytes.
const MOST: usize = 64 << 10;

/// A row that was inserted, read, shown by Realtime, and removed.
#[derive(Debug, Clone)]
pub struct RowSeen {
    /// Id of the row.
    pub id: RowId,
    /// Time from the insert's answer until Realtime showed the row.
    pub shown_after: Duration,
}

/// Reason why the check failed.
#[derive(Debug, thiserror::Error)]
pub enum RowProbeError {
    /// The key may be kept from seeing or removing the row by policies.
    #[error(
        "SUPABASE_SERVICE_KEY is not set; with another key the row might stay behind, so none was inserted"
    )]
    Key,
    /// A request failed.
    #[error("can't {step} a row")]
    Request {
        /// Purpose of the request.
        step: &'static str,
        /// Name of the table in SQL.
        table: String,
        /// The failure.
        #[source]
        source: RestError,
    },
    /// The row that was inserted can't be read.
    #[error("the row that was inserted can't be read, and was removed again")]
    Unread,
    /// Realtime ended before it showed the row.
    #[error("Realtime ended before it showed a row; no row stays behind")]
    Realtime(#[source] DisconnectReason),
    /// Realtime showed no row in time.
    #[error("Realtime showed none of {ROWS} inserted rows within {SHOWN_WITHIN:?}; they were removed again")]
    NotShown,
    /// A signal asked to stop.
    #[error("stopped by a signal; no row stays behind")]
    Stopped,
    /// The row could not be removed.
    #[error("a row stays behind, because it can't be removed")]
    Left {
        /// Name of the table in SQL.
        table: String,
        /// The failure of the last try.
        #[source]
        source: RestError,
    },
}

impl Failure for RowProbeError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Request { source, .. } | Self::Left { source, .. } => source.directive(),
            Self::Realtime(reason) => reason.directive(),
            Self::Key | Self::Unread | Self::NotShown => RetryDirective::Person,
            Self::Stopped => RetryDirective::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Key => "Set SUPABASE_SERVICE_KEY for this check.".to_owned(),
            Self::Request { table, source, .. } if source.kind() == Some(AnswerKind::NotPermitted) => {
                format!(
                    "The check needs more than a worker does. Run this in the SQL editor, and its opposite (revoke ... from) \
                 afterwards: grant insert, delete on {table} to service_role;"
                )
            }
            Self::Request { source, .. } => source.advice(),
            Self::Unread => "Check that SUPABASE_TABLE is no view that hides new rows.".to_owned(),
            Self::Realtime(reason) => reason.advice(),
            Self::NotShown => {
                "Look at Realtime's logs in the project's dashboard; the worker's sweeps find rows in any \
                               case, within SWEEP_EVERY."
                    .to_owned()
            }
            Self::Stopped => "Run it again.".to_owned(),
            Self::Left { table, .. } => {
                format!("Run this in the SQL editor: delete from {table} where typo like '{MARK}%';")
            }
        }
    }
}

/// Check of a table by a row.
#[derive(Debug)]
pub struct RowProbe {
    access: TableAccess,
    client: Client,
    table: Table,
}

impl RowProbe {
    /// Prepares the check; makes no request yet.
    ///
    /// # Errors
    /// [`RowProbeError::Key`] for a key that policies may keep from removing the row, and
    /// [`RowProbeError::Request`] for an address or key that can't be used.
    pub fn new(access: &TableAccess) -> Result<Self, RowProbeError> {
        if !access.bypasses_policies() {
            return Err(RowProbeError::Key);
        }
        let failed = |source| failed(access, "prepare", source);
        let mut headers = rest_headers(access).map_err(|error| failed(error.into()))?;
        let schema = HeaderValue::from_str(&access.schema)
            .map_err(|_| failed(crate::ingest::AccessError::Address.into()))?;
        headers.insert(HeaderName::from_static("content-profile"), schema);
        let client = Client::builder()
            .timeout(REQUEST_TIME)
            .default_headers(headers)
            // A redirect would send the key to its target.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| failed(RestError::Request(error)))?;
        Ok(Self { access: access.clone(), client, table: Table::new(access).map_err(failed)? })
    }

    /// Inserts a row, reads it, waits until Realtime shows it, and removes it. After an error or a signal
    /// the row is removed, too.
    ///
    /// # Errors
    /// [`RowProbeError`].
    pub async fn run(&self, stop: &CancellationToken) -> Result<RowSeen, RowProbeError> {
        // What is not allowed to remove a row must not insert one. This also removes rows of earlier checks.
        self.remove().await.map_err(|source| failed(&self.access, "remove", source))?;
        let (_session, mut shown) = Shown::begin(self.access.clone(), stop.clone());
        let seen = self.insert_until_shown(&mut shown).await;
        self.remove_surely().await?;
        seen
    }

    /// No request in here is ever interrupted: an insert that nobody waits for could come after the removal.
    async fn insert_until_shown(&self, shown: &mut Shown) -> Result<RowSeen, RowProbeError> {
        // A session that never subscribes ends by itself.
        while shown.next().await? != Notice::Subscribed {}
        let mut ids = Vec::new();
        for _ in 0..ROWS {
            let id = self.insert().await.map_err(|source| failed(&self.access, "insert", source))?;
            let inserted = Instant::now();
            ids.push(id.clone());
            let page = self.table.rows_by_id(std::slice::from_ref(&id)).await;
            let page = page.map_err(|source| failed(&self.access, "read", source))?;
            if page.ids().is_empty() {
                return Err(RowProbeError::Unread);
            }
            if let Ok(id) = timeout(SHOWN_WITHIN, shown.one_of(&ids)).await {
                return Ok(RowSeen { id: id?, shown_after: inserted.elapsed() });
            }
        }
        Err(RowProbeError::NotShown)
    }

    /// Inserts a row and returns its id.
    async fn insert(&self) -> Result<RowId, RestError> {
        let columns = &self.access.columns;
        let text = format!("{MARK}{:016x}", rand::random::<u64>());
        let row = json!({
            columns.typo.as_str(): text, columns.corrected.as_str(): text, columns.domain.as_str(): DOMAIN,
        });
        let rows = self.send(self.request(reqwest::Method::POST)?.json(&row)).await?;
        rows.first().and_then(|row| columns.id_of(row)).ok_or(RestError::NoIds)
    }

    /// Removes all rows of this kind.
    async fn remove(&self) -> Result<(), RestError> {
        let pattern = format!("like.{MARK}*");
        let request = self.request(reqwest::Method::DELETE)?.query(&[(&self.access.columns.typo, pattern)]);
        self.send(request).await.map(drop)
    }

    /// Removes all rows of this kind, and tries again when that fails.
    async fn remove_surely(&self) -> Result<(), RowProbeError> {
        let mut tries = 1;
        loop {
            match self.remove().await {
                Ok(()) => return Ok(()),
                Err(source) if tries == REMOVALS => {
                    return Err(RowProbeError::Left { table: sql::qualified(&self.access), source });
                }
                Err(_) => sleep(PAUSE).await,
            }
            tries += 1;
        }
    }

    /// Begins a request whose answer has the ids of the rows that it is about.
    fn request(&self, method: reqwest::Method) -> Result<RequestBuilder, RestError> {
        let request = self.client.request(method, self.access.rest_url()?);
        let prefer = HeaderName::from_static("prefer");
        Ok(request.query(&[("select", &self.access.columns.id)]).header(prefer, "return=representation"))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Vec<Map<String, Value>>, RestError> {
        let response = request.send().await.map_err(|error| RestError::Request(error.without_url()))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let is_json =
            headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let body = read_body(response, MOST).await.unwrap_or_default();
        match status {
            StatusCode::OK | StatusCode::CREATED if is_json => {
                serde_json::from_slice(&body).map_err(RestError::Body)
            }
            _ => Err(RestError::Answer(Box::new(ErrorAnswer::new(&self.access, status, &headers, &body)))),
        }
    }
}

/// The rows that Realtime shows, until it ends or a signal comes.
struct Shown {
    notices: mpsc::UnboundedReceiver<Result<Notice, DisconnectReason>>,
    stop: CancellationToken,
}

impl Shown {
    /// Begins a session, which ends when the handle is dropped.
    fn begin(access: TableAccess, stop: CancellationToken) -> (AbortOnDropHandle<()>, Self) {
        let (sender, notices) = mpsc::unbounded_channel();
        let session = tokio::spawn(async move {
            let reporter = sender.clone();
            // Sending fails when nobody waits any more.
            let report = move |notice| drop(reporter.send(Ok(notice)));
            let reason = watch_inserts(&access, &CancellationToken::new(), report).await;
            let _ = sender.send(Err(reason));
        });
        (AbortOnDropHandle::new(session), Self { notices, stop })
    }

    async fn next(&mut self) -> Result<Notice, RowProbeError> {
        tokio::select! {
            () = self.stop.cancelled() => Err(RowProbeError::Stopped),
            notice = self.notices.recv() => {
                notice.unwrap_or(Err(DisconnectReason::Stopped)).map_err(RowProbeError::Realtime)
            }
        }
    }

    /// Waits for one of these rows.
    async fn one_of(&mut self, ids: &[RowId]) -> Result<RowId, RowProbeError> {
        loop {
            if let Notice::Inserted(id) = self.next().await?
                && ids.contains(&id)
            {
                return Ok(id);
            }
        }
    }
}

fn failed(access: &TableAccess, step: &'static str, source: RestError) -> RowProbeError {
    RowProbeError::Request { step, table: sql::qualified(access), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correction::{Refusal, Row};

    /// Otherwise a running worker would train on it.
    #[test]
    fn the_row_is_one_that_every_worker_refuses() {
        let text = format!("{MARK}{:016x}", u64::MAX);
        let row = Row { typo: text.clone(), corrected: text, domain: DOMAIN.to_owned(), ..Row::default() };
        assert_eq!(row.check().map(drop), Err(Refusal::Unchanged));
    }
}
