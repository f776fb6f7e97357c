//! The table through PostgREST: keyset pages, rows by id, and counts.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use url::Url;

use super::access::{AccessError, Malformed, TableAccess};
use super::rest_error::RestError;
use crate::answer::{AnswerError, read_body};
use crate::correction::Row;

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for a whole request; hosted databases cancel statements after 8 s at most.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes: a thousand rows of 16 KiB.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Number of ids in one `id=in.(..)`: 100 ids of 19 digits keep the address below 8 KB.
const IDS_PER_REQUEST: usize = 100;

/// Read-only client of the corrections table.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    url: Url,
    access: TableAccess,
    pub(super) has_updated_at: Arc<OnceCell<bool>>,
}

/// Rows that one call read from the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Rows that could be decoded.
    pub rows: Vec<Row>,
    /// Rows that could not be decoded.
    pub malformed: Vec<Malformed>,
    /// Highest id among all of them; `None` only when the page is empty. Only an empty page means
    /// the end of the table: a short page may come from the server's row limit.
    pub last_id: Option<i64>,
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
        Ok(Self { client, url, access: access.clone(), has_updated_at: Arc::default() })
    }

    /// Returns the table's address, key and columns.
    pub fn access(&self) -> &TableAccess {
        &self.access
    }

    /// Returns the next rows with an id above `cursor`, at most `limit`, in order of id.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn page_after(&self, cursor: i64, limit: usize) -> Result<Page, RestError> {
        let filter = (self.access.columns.id.as_str(), format!("gt.{cursor}"));
        let page = self.page(&self.access.columns.names().join(","), &[filter], limit).await?;
        self.decode(&page)
    }

    /// Returns the rows with these ids, in any order; ids that do not exist are left out.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn rows_by_id(&self, ids: &[i64]) -> Result<Page, RestError> {
        let select = self.access.columns.names().join(",");
        let mut found = Page::default();
        for ids in ids.chunks(IDS_PER_REQUEST) {
            let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
            let filter = (self.access.columns.id.as_str(), format!("in.({list})"));
            let page = self.decode(&self.page(&select, &[filter], ids.len()).await?)?;
            found.rows.extend(page.rows);
            found.malformed.extend(page.malformed);
            found.last_id = found.last_id.max(page.last_id);
        }
        Ok(found)
    }

    /// Returns every id above `after` and up to `last`, at most `limit`, ascending. Looking back by
    /// id costs less than reading the rows.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn ids_between(&self, after: i64, last: i64, limit: usize) -> Result<Vec<i64>, RestError> {
        let id = self.access.columns.id.as_str();
        let filters = [(id, format!("gt.{after}")), (id, format!("lte.{last}"))];
        let page = self.page(id, &filters, limit).await?;
        Ok(page.iter().filter_map(|record| self.access.columns.id_of(record)).collect())
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
        let id = self.access.columns.id.as_str();
        let last = format!("lte.{last}");
        let query = [("select", id), ("limit", "1"), (id, &last)];
        let request = self.client.get(self.url.clone()).query(&query).header("prefer", "count=exact");
        let response = self.send(request).await?;
        let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
        let total = range.and_then(|range| range.rsplit_once('/')).and_then(|(_, total)| total.parse().ok());
        total.ok_or(RestError::Gateway { status: response.status().as_u16() })
    }

    /// Returns every `(beside, column)` pair of values once, in the table's order of `column` and
    /// then `beside`. Without a column `beside`, its value is empty. Rows with a blank `column` are
    /// left out. Reads by keyset, so that rows inserted meanwhile do not shift the pages that are
    /// still to be read.
    pub(super) async fn texts(
        &self,
        column: &str,
        beside: Option<&str>,
    ) -> Result<Vec<(String, String)>, RestError> {
        let select = beside.map_or_else(|| column.to_owned(), |beside| format!("{column},{beside}"));
        let order =
            beside.map_or_else(|| format!("{column}.asc"), |beside| format!("{column}.asc,{beside}.asc"));
        let mut texts: Vec<(String, String)> = Vec::new();
        let mut rest = (column.to_owned(), "not.is.null".to_owned());
        loop {
            let query = [("select", select.as_str()), ("order", &order), ("limit", "1000")];
            let request = self.client.get(self.url.clone()).query(&query).query(&[&rest]);
            let body = bounded(self.send(request).await?).await?;
            let page: Vec<Map<String, Value>> = serde_json::from_slice(&body).map_err(RestError::Body)?;
            let Some(last) = page.last() else { return Ok(texts) };
            let text = |record: &Map<String, Value>, name: &str| {
                record.get(name).and_then(Value::as_str).map(str::to_owned)
            };
            let Some(name) = text(last, column) else { return Err(RestError::NoTexts) };
            rest = match beside {
                Some(beside) => ("or".to_owned(), beyond((column, &name), (beside, text(last, beside)))),
                None => (column.to_owned(), format!("gt.{name}")),
            };
            for record in &page {
                let name = text(record, column).filter(|name| !name.trim().is_empty());
                let beside = beside.and_then(|beside| text(record, beside)).unwrap_or_default();
                if let Some(entry) = name.map(|name| (beside, name))
                    && texts.last() != Some(&entry)
                {
                    texts.push(entry);
                }
            }
        }
    }

    pub(super) async fn page(
        &self,
        select: &str,
        filters: &[(&str, String)],
        limit: usize,
    ) -> Result<Vec<Map<String, Value>>, RestError> {
        self.page_in(select, filters, &format!("{}.asc", self.access.columns.id), limit).await
    }

    pub(super) async fn page_in(
        &self,
        select: &str,
        filters: &[(&str, String)],
        order: &str,
        limit: usize,
    ) -> Result<Vec<Map<String, Value>>, RestError> {
        let limit = limit.to_string();
        let query = [("select", select), ("order", order), ("limit", &limit)];
        let request = self.client.get(self.url.clone()).query(&query).query(filters);
        let body = bounded(self.send(request).await?).await?;
        serde_json::from_slice(&body).map_err(RestError::Body)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RestError> {
        let response = request.send().await.map_err(|error| RestError::Request(error.without_url()))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = bounded(response).await?;
        Err(RestError::of_answer(&self.access, status, &headers, &body))
    }

    pub(super) fn decode(&self, records: &[Map<String, Value>]) -> Result<Page, RestError> {
        let columns = &self.access.columns;
        let mut page = Page::default();
        for record in records {
            page.last_id = page.last_id.max(columns.id_of(record));
            match columns.decode(record) {
                Ok(row) => page.rows.push(row),
                Err(malformed) => page.malformed.push(malformed),
            }
        }
        if page.last_id.is_none() && !records.is_empty() {
            return Err(RestError::NoIds);
        }
        Ok(page)
    }
}

/// Builds the headers of every request: the key and, when it is a JWT, the key again as the bearer
/// token, without which PostgREST would run as `anon`.
fn headers(access: &TableAccess) -> Result<HeaderMap, AccessError> {
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
    Ok(headers)
}

/// Builds the filter for the rows after a given one in the order of two columns, as a list for
/// PostgREST's `or`. Null is the last value of the second column, as PostgreSQL sorts it.
pub(super) fn beyond((first, value): (&str, &str), (second, beside): (&str, Option<String>)) -> String {
    let value = quoted(value);
    match beside.as_deref().map(quoted) {
        None => format!("({first}.gt.{value})"),
        Some(beside) => {
            format!("({first}.gt.{value},and({first}.eq.{value},or({second}.gt.{beside},{second}.is.null)))")
        }
    }
}

/// Quotes a text as a value within a list, so that commas and parentheses separate nothing.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Reads a body, but never more than [`MAX_ANSWER_BYTES`].
async fn bounded(response: Response) -> Result<Vec<u8>, RestError> {
    read_body(response, MAX_ANSWER_BYTES).await.map_err(|error| match error {
        AnswerError::TooLarge { limit } => RestError::TooLarge { limit },
        AnswerError::Connection(error) => RestError::Request(error),
    })
}
