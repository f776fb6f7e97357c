//! The table through PostgREST: keyset pages, rows by id, and counts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use reqwest::{Client, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, info};
use url::Url;

use super::access::{AccessError, TableAccess};
use super::error_answer::ErrorAnswer;
use super::filters::{beyond, fitting, in_list};
use super::id_kind::IdKind;
use super::page::{Page, Record, UnreadableReason, check_range};
use super::page_size::{MAX_ROWS, PageSize};
use super::rest_error::RestError;
use super::text_budget::TextBudget;
use crate::answer::{AnswerError, read_body};
use crate::failure::chain;
use crate::row_identity::RowId;

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for a whole request; hosted databases cancel statements after 8 s at most.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes: a thousand rows of 16 KiB.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Largest body of a refusal that is read, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// Read-only client of the corrections table.
///
/// Every reading method asks for pages of a size that the table's answers allow, whatever its caller
/// wants at most, and shares what it learned with the others and with all clones. Its errors are
/// those that a smaller page does not mend.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    url: Url,
    access: TableAccess,
    pub(super) size: Arc<PageSize>,
    /// True once the table turned out to have no column of the time of the last update.
    pub(super) lacks_updated_at: Arc<AtomicBool>,
    /// True once the table turned out to have no column of the time of the insert.
    undated: Arc<AtomicBool>,
    /// Kind of the table's ids, once a row has shown it.
    pub(super) id_kind: Arc<OnceLock<IdKind>>,
}

/// Question for one page, without its size.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) select: &'a str,
    pub(super) filters: Vec<(&'a str, String)>,
    pub(super) order: String,
}

impl Table {
    /// Creates a client for the table; makes no request yet.
    ///
    /// # Errors
    /// [`RestError::TableAccess`] for an address or key that can't be used.
    pub fn new(access: &TableAccess) -> Result<Self, RestError> {
        let url = access.rest_url()?;
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .user_agent(concat!("autovalidate-trainer/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(access)?)
            // A redirect would send the key to its target.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(RestError::Request)?;
        let (size, undated, lacks_updated_at, id_kind) = Default::default();
        Ok(Self { client, url, access: access.clone(), size, undated, lacks_updated_at, id_kind })
    }

    /// Returns the table's address, key and columns.
    pub fn access(&self) -> &TableAccess {
        &self.access
    }

    /// Returns true when rows are read without the time of their insert: the settings name no such
    /// column, or the table turned out to have none.
    pub fn is_undated(&self) -> bool {
        self.access.columns.created_at.is_empty() || self.undated.load(Ordering::Relaxed)
    }

    /// Returns the next rows with an id above `cursor`, at most `limit`, in order of id. A row that
    /// can't be read even alone is in [`Page::unreadable`].
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn page_after(&self, cursor: i64, limit: usize) -> Result<Page, RestError> {
        let select = self.select();
        let records = match self.read(&self.question(&select, cursor, i64::MAX), limit).await {
            Ok(records) => records,
            Err(error) if self.goes_on_undated(&error) => {
                return Box::pin(self.page_after(cursor, limit)).await;
            }
            Err(error) => {
                let question = self.question(&self.access.columns.id, cursor, i64::MAX);
                return self.unreadable_page(cursor, question, error).await;
            }
        };
        self.size.got_past(cursor);
        check_range(&self.access.columns, &records, cursor, i64::MAX)?;
        Page::decode(&self.access.columns, &records)
    }

    /// Returns the rows with these ids, in any order; ids that do not exist are left out. A row that
    /// can't be read even alone is in [`Page::unreadable`].
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn rows_by_id(&self, ids: &[RowId]) -> Result<Page, RestError> {
        let columns = &self.access.columns;
        let mut found = Page::default();
        let mut left = ids.to_vec();
        while !left.is_empty() {
            let asked = self.size.rows(fitting(&left));
            let some = left.get(..asked).unwrap_or(&left).to_vec();
            let filters = vec![(columns.id.as_str(), in_list(&some))];
            let select = self.select();
            let question = Question { select: &select, filters, order: self.by_id() };
            // A view may have several rows with one id, which must show.
            let page = match (self.page(&question, asked * 2).await, some.as_slice()) {
                (Ok(records), _) => Page::decode(columns, &records)?,
                (Err(error), _) if self.size.failed(asked, &error) || self.goes_on_undated(&error) => {
                    continue;
                }
                (Err(error), [id]) => {
                    let question = Question { select: &columns.id, ..question };
                    self.unreadable_page(id.number().saturating_sub(1), question, error).await?
                }
                (Err(error), _) => return Err(error),
            };
            let shown = page.ids();
            if let Some(id) = shown.iter().find(|shown| !some.iter().any(|id| id.number() == **shown)) {
                return Err(RestError::NotAsked { got: RowId::of_number(*id) });
            }
            // A short answer may come from the server's row limit. Only an empty one says that the rows
            // are not there.
            match shown.is_empty() {
                true => left.drain(..asked).for_each(drop),
                false => left.retain(|id| !shown.contains(&id.number())),
            }
            found.append(page);
        }
        Ok(found)
    }

    /// Returns every id above `after` and up to `last`, at most `limit`, ascending. Looking back by
    /// id costs less than reading the rows.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn ids_between(&self, after: i64, last: i64, limit: usize) -> Result<Vec<i64>, RestError> {
        let columns = &self.access.columns;
        let records = self.read(&self.question(&columns.id, after, last), limit).await?;
        check_range(columns, &records, after, last)?;
        let ids: Vec<_> = records.iter().filter_map(|record| columns.number_of(record)).collect();
        if ids.is_empty() && !records.is_empty() { Err(RestError::NoIds) } else { Ok(ids) }
    }

    /// Returns the number of rows that the key's role can see.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn count(&self) -> Result<u64, RestError> {
        self.count_up_to(i64::MAX).await
    }

    /// Returns the number of rows with an id up to `last` that the key's role can see.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn count_up_to(&self, last: i64) -> Result<u64, RestError> {
        let question = self.question(&self.access.columns.id, i64::MIN, last);
        let response = self.send(self.request(&question, 1).header("prefer", "count=exact")).await?;
        let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
        let total = range.and_then(|range| range.rsplit_once('/')).and_then(|(_, total)| total.parse().ok());
        total.ok_or(RestError::NoCount)
    }

    /// Returns the values of `column` and of further columns, each combination once, in the table's order
    /// by these columns. Rows with a blank `column` are left out; a further column that is null has an empty
    /// text. Reads by keyset, so that rows inserted meanwhile do not shift the pages that are still to be
    /// read.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn texts(&self, column: &str, further: &[&str]) -> Result<Vec<Vec<String>>, RestError> {
        let columns: Vec<&str> = [column].iter().chain(further).copied().collect();
        let select = columns.join(",");
        let order = columns.iter().map(|column| format!("{column}.asc")).collect::<Vec<_>>().join(",");
        let mut texts: Vec<Vec<String>> = Vec::new();
        let mut budget = TextBudget::default();
        let first = vec![(column, "not.is.null".to_owned())];
        let mut question = Question { select: &select, filters: first, order };
        let mut previous: Option<Vec<Option<String>>> = None;
        loop {
            let page = self.read(&question, MAX_ROWS).await?;
            let Some(last) = page.last() else { return Ok(texts) };
            let values = |record: &Record| -> Vec<Option<String>> {
                let text = |name: &&str| record.get(*name).and_then(Value::as_str).map(str::to_owned);
                columns.iter().map(text).collect()
            };
            let place = values(last);
            let Some(Some(value)) = place.first() else { return Err(RestError::NoTexts) };
            // The next question excludes this place, so only another question's answer ends there.
            if previous.as_ref() == Some(&place) {
                return Err(RestError::SamePage);
            }
            let beside: Vec<(&str, Option<&str>)> =
                further.iter().zip(&place[1..]).map(|(name, value)| (*name, value.as_deref())).collect();
            question.filters = vec![("or", beyond((column, value), &beside))];
            previous = Some(place);
            for record in &page {
                let entry: Vec<String> = values(record).into_iter().map(Option::unwrap_or_default).collect();
                let is_blank = entry.first().is_none_or(|name| name.trim().is_empty());
                if !is_blank && texts.last() != Some(&entry) {
                    budget.take(&entry)?;
                    texts.push(entry);
                }
            }
        }
    }

    /// Builds the question for the ids above `after` and up to `last`. A bound that excludes nothing
    /// is left out: in a column of a smaller type than `bigint`, the comparison would fail.
    fn question<'a>(&'a self, select: &'a str, after: i64, last: i64) -> Question<'a> {
        let id = self.access.columns.id.as_str();
        let above = (after > i64::MIN).then(|| (id, format!("gt.{after}")));
        let up_to = (last < i64::MAX).then(|| (id, format!("lte.{last}")));
        Question { select, filters: above.into_iter().chain(up_to).collect(), order: self.by_id() }
    }

    /// Returns the list of columns to read.
    pub(super) fn select(&self) -> String {
        let names = self.access.columns.names();
        let read = if self.is_undated() { &names[..4] } else { &names[..] };
        read.join(",")
    }

    /// Returns true when reading goes on without the time of the insert, because the table turned out
    /// to have no such column. The rows then count as written when they arrive.
    pub(super) fn goes_on_undated(&self, error: &RestError) -> bool {
        let goes_on = error.lacks_created_at(&self.access) && !self.undated.swap(true, Ordering::Relaxed);
        if goes_on {
            let column = &self.access.columns.created_at;
            info!(column, "the table has no such column; rows count as written when they arrive");
        }
        goes_on
    }

    pub(super) fn by_id(&self) -> String {
        format!("{}.asc", self.access.columns.id)
    }

    /// Reads one page of at most `most` records, and smaller ones until one gets through.
    pub(super) async fn read(&self, question: &Question<'_>, most: usize) -> Result<Vec<Record>, RestError> {
        loop {
            let asked = self.size.rows(most);
            match self.page(question, asked).await {
                Err(error) if self.size.failed(asked, &error) => {
                    debug!(asked, error = chain(&error), "asking for a smaller page");
                }
                answer => return answer,
            }
        }
    }

    /// Returns the page for a row that fails alone; see [`unreadable`](Self::unreadable).
    async fn unreadable_page(
        &self,
        place: i64,
        question: Question<'_>,
        error: RestError,
    ) -> Result<Page, RestError> {
        let found = self.unreadable(place, question, error).await?;
        let id = found.and_then(|(record, reason)| Some((self.access.columns.id_of(&record)?, reason)));
        Ok(id.map_or_else(Page::default, |(id, reason)| Page::of_unreadable(id, reason)))
    }

    /// Reads columns of a row that fails as a whole, with `error`: the first one that the question is about,
    /// after a place in the table. Returns them with the reason.
    ///
    /// # Errors
    /// `error` itself, when the row is not certainly the reason.
    pub(super) async fn unreadable(
        &self,
        place: i64,
        question: Question<'_>,
        error: RestError,
    ) -> Result<Option<(Record, UnreadableReason)>, RestError> {
        let reason = match &error {
            error if error.is_about_size() => UnreadableReason::TooLarge,
            error if error.may_be_about_one_row() && self.size.gives_up_row_after(place) => {
                UnreadableReason::DatabaseFails
            }
            _ => return Err(error),
        };
        Ok(self.read(&question, 1).await?.pop().map(|record| (record, reason)))
    }

    /// Asks once for `asked` records, and learns from the answer.
    pub(super) async fn page(&self, question: &Question<'_>, asked: usize) -> Result<Vec<Record>, RestError> {
        let begun = Instant::now();
        let body = bounded(self.send(self.request(question, asked)).await?).await?;
        let records: Vec<Record> = serde_json::from_slice(&body).map_err(RestError::Body)?;
        self.size.succeeded(asked, records.len(), begun.elapsed());
        Ok(records)
    }

    fn request(&self, question: &Question<'_>, rows: usize) -> RequestBuilder {
        let limit = rows.to_string();
        let query = [("select", question.select), ("order", &question.order), ("limit", &limit)];
        self.client.get(self.url.clone()).query(&query).query(&question.filters)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RestError> {
        let response = request.send().await.map_err(|error| RestError::Request(error.without_url()))?;
        let page = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_web_page = page.is_some_and(|kind| kind.starts_with("text/html"));
        if response.status().is_success() && !is_web_page {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        // A refusal is told even when its body can't be read.
        let body = read_body(response, MAX_REFUSAL_BYTES).await.unwrap_or_default();
        Err(RestError::Answer(Box::new(ErrorAnswer::new(&self.access, status, &headers, &body))))
    }
}

/// Builds the headers of every request: the key and, when it is a JWT, the key again as the bearer
/// token, without which PostgREST would run as `anon`.
pub(crate) fn headers(access: &TableAccess) -> Result<HeaderMap, AccessError> {
    let secret = |text: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| AccessError::Key)?;
        value.set_sensitive(true);
        Ok(value)
    };
    let key = access.key.expose_secret();
    if key.is_empty() {
        return Err(AccessError::Key);
    }
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("apikey"), secret(key)?);
    if let Some(token) = access.token().map(SecretString::expose_secret) {
        headers.insert(AUTHORIZATION, secret(&format!("Bearer {token}"))?);
    }
    let schema = HeaderValue::from_str(&access.schema).map_err(|_| AccessError::Address)?;
    headers.insert(HeaderName::from_static("accept-profile"), schema);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    // A cached page shows rows of the past.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(headers)
}

/// Reads a body, but never more than [`MAX_ANSWER_BYTES`].
async fn bounded(response: Response) -> Result<Vec<u8>, RestError> {
    read_body(response, MAX_ANSWER_BYTES).await.map_err(|error| match error {
        AnswerError::TooLarge { limit } => RestError::TooLarge { limit },
        AnswerError::Connection(error) => RestError::Request(error),
    })
}
