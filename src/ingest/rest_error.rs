//! Errors that PostgREST, or the gateway in front of it, answers instead of rows.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::access::{AccessError, TableAccess};
use super::page_size::SmallerPage;
use super::sql;
use crate::failure::{Failure, RetryDirective};
use crate::retry::retry_after;

/// Reason why the table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The settings make no valid address or no valid header.
    #[error(transparent)]
    TableAccess(#[from] AccessError),
    /// The connection failed, no answer came in time, or the answer was cut short.
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    /// The key is missing, wrong or expired.
    #[error("the key is refused (HTTP {status}, code {code:?})")]
    Key {
        /// HTTP status.
        status: u16,
        /// PostgREST's code, when PostgREST itself refused the key.
        code: Option<String>,
    },
    /// The key's role may not read the table (42501).
    #[error("the key's role may not read the table")]
    NotPermitted {
        /// SQL that grants the permission.
        sql: String,
    },
    /// The table does not exist (PGRST205, 42P01).
    #[error("the table {schema}.{table} does not exist")]
    MissingTable {
        /// Requested schema.
        schema: String,
        /// Requested table.
        table: String,
        /// SQL that creates the table.
        sql: String,
    },
    /// The schema is not exposed (PGRST106).
    #[error("the schema {schema} is not exposed")]
    MissingSchema {
        /// Requested schema.
        schema: String,
    },
    /// The table lacks a column that the worker reads (42703, PGRST204).
    #[error("a column is missing ({detail})")]
    MissingColumn {
        /// Server's message, which names the column.
        detail: String,
        /// SQL that adds the missing columns.
        sql: String,
    },
    /// The service has too many requests, or the database is down or starting (408, 429, 5xx).
    #[error("the service is busy (HTTP {status})")]
    Busy {
        /// HTTP status.
        status: u16,
        /// Wait that the service asks for.
        retry_after: Option<Duration>,
    },
    /// The statement took too long (57014); a smaller page may succeed.
    #[error("the database cancelled the statement after its time limit")]
    StatementTimeout,
    /// A gateway or proxy answered with a page of its own instead of the service's JSON.
    #[error("a gateway answered instead of the service (HTTP {status})")]
    Gateway {
        /// HTTP status.
        status: u16,
    },
    /// The answer is not the expected JSON, for instance because it was cut short.
    #[error("the answer can't be read")]
    Body(#[source] serde_json::Error),
    /// The answer is larger than any page may be.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// Limit in bytes.
        limit: usize,
    },
    /// A gateway refuses an answer or a request of this size (413).
    #[error("a gateway refuses an answer of this size (HTTP 413)")]
    PayloadTooLarge,
    /// The answer holds a row that was not asked for, or rows in another order: a cache or a proxy
    /// answered another question. Reading on would never advance, or skip rows.
    #[error("the answer holds row {got}, which was not asked for, or not in this order")]
    NotAsked {
        /// Id of the row in the answer.
        got: i64,
    },
    /// The answer to the question for the next page is the page before: a cache or a proxy answered
    /// another question.
    #[error("the next page is the page before")]
    SamePage,
    /// The id column holds texts, such as uuids.
    #[error("the id column {column} holds texts, such as uuids, and not whole numbers")]
    TextIds {
        /// Name of the column.
        column: String,
    },
    /// A page has rows, but none with a whole number as its id.
    #[error("no row of a page has a whole number in its id column")]
    NoIds,
    /// A catalog's column of names holds values that are not text.
    #[error("the column of names holds values that are not text")]
    NoTexts,
    /// The service refused the request for another reason.
    #[error("the request is refused (HTTP {status}, code {code:?})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// PostgREST's code.
        code: Option<String>,
    },
}

impl RestError {
    /// Returns the wait that the service asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        if let Self::Busy { retry_after, .. } = self { *retry_after } else { None }
    }

    /// Returns the remedy of a smaller page.
    pub(super) fn smaller_page(&self) -> SmallerPage {
        match self {
            Self::StatementTimeout | Self::TooLarge { .. } | Self::PayloadTooLarge => SmallerPage::MayHelp,
            Self::Body(_) => SmallerPage::MayHelpLater,
            Self::Busy { status, .. } | Self::Gateway { status } if *status >= 500 => {
                SmallerPage::MayHelpLater
            }
            Self::Request(error) if error.is_timeout() || error.is_body() => SmallerPage::MayHelpLater,
            Self::TableAccess(_)
            | Self::Request(_)
            | Self::Key { .. }
            | Self::NotPermitted { .. }
            | Self::MissingTable { .. }
            | Self::MissingSchema { .. }
            | Self::MissingColumn { .. }
            | Self::Busy { .. }
            | Self::Gateway { .. }
            | Self::NotAsked { .. }
            | Self::SamePage
            | Self::TextIds { .. }
            | Self::NoIds
            | Self::NoTexts
            | Self::Refused { .. } => SmallerPage::IsNoRemedy,
        }
    }

    /// Returns true when the answer's size is certainly the reason. For a page of one row, that row
    /// is too large.
    pub(super) fn is_about_size(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::PayloadTooLarge)
    }

    /// Returns true when, for a page of one row, that row may be the reason.
    pub(super) fn may_be_about_one_row(&self) -> bool {
        matches!(self, Self::StatementTimeout)
    }

    /// Classifies an answer that is not a success.
    pub(super) fn of_answer(
        access: &TableAccess,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Self {
        #[derive(Deserialize)]
        struct Answer {
            code: Option<String>,
            message: Option<String>,
        }
        let Ok(Answer { code, message }) = serde_json::from_slice(body) else {
            return Self::of_gateway(status, headers);
        };
        let number = status.as_u16();
        match (number, code.as_deref().unwrap_or_default()) {
            (_, "57014") => Self::StatementTimeout,
            (413, _) => Self::PayloadTooLarge,
            (_, "42501") => Self::NotPermitted { sql: sql::policies(access) },
            (_, "PGRST205" | "42P01") => Self::MissingTable {
                schema: access.schema.clone(),
                table: access.table.clone(),
                sql: sql::table(access),
            },
            (_, "PGRST106") => Self::MissingSchema { schema: access.schema.clone() },
            (_, "42703" | "PGRST204") => {
                Self::MissingColumn { detail: message.unwrap_or_default(), sql: sql::columns(access) }
            }
            (401 | 403, _) => Self::Key { status: number, code },
            (408 | 429, _) => Self::Busy { status: number, retry_after: retry_after(headers) },
            (500.., _) => Self::Busy { status: number, retry_after: retry_after(headers) },
            _ => Self::Refused { status: number, code },
        }
    }

    fn of_gateway(status: StatusCode, headers: &HeaderMap) -> Self {
        match status.as_u16() {
            413 => Self::PayloadTooLarge,
            status @ (401 | 403) => Self::Key { status, code: None },
            status @ (429 | 503 | 504) => Self::Busy { status, retry_after: retry_after(headers) },
            status => Self::Gateway { status },
        }
    }
}

impl Failure for RestError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Request(_)
            | Self::Busy { .. }
            | Self::StatementTimeout
            | Self::Gateway { .. }
            | Self::Body(_)
            | Self::TooLarge { .. }
            | Self::PayloadTooLarge
            | Self::NotAsked { .. }
            | Self::SamePage => RetryDirective::Retry,
            Self::TableAccess(_)
            | Self::Key { .. }
            | Self::NotPermitted { .. }
            | Self::MissingTable { .. }
            | Self::MissingSchema { .. }
            | Self::MissingColumn { .. }
            | Self::TextIds { .. }
            | Self::NoIds
            | Self::NoTexts
            | Self::Refused { .. } => RetryDirective::Person,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::TableAccess(error) => error.advice(),
            Self::Request(_) => "Check SUPABASE_URL and the network; the worker tries again.".to_owned(),
            Self::Key { .. } => {
                "Check SUPABASE_ANON_KEY or SUPABASE_SERVICE_KEY against Project Settings > API Keys."
                    .to_owned()
            }
            Self::NotPermitted { sql } => format!("Use a service key, or run in the SQL editor:\n{sql}"),
            Self::MissingTable { sql, .. } => {
                format!("Set SUPABASE_TABLE to the table's name, or run in the SQL editor:\n{sql}")
            }
            Self::MissingSchema { schema } => {
                format!("Expose the schema {schema} under Project Settings > Data API.")
            }
            Self::MissingColumn { sql, .. } => {
                format!("Set SUPABASE_COLUMNS to the table's column names, or run in the SQL editor:\n{sql}")
            }
            Self::Busy { .. } | Self::StatementTimeout | Self::Gateway { .. } | Self::Body(_) => {
                "Nothing to do: the worker tries again.".to_owned()
            }
            Self::TooLarge { .. } | Self::PayloadTooLarge => {
                "Check the table for rows with very long texts.".to_owned()
            }
            Self::NotAsked { .. } | Self::SamePage => {
                "Let no cache or proxy answer in front of SUPABASE_URL: it must pass on every query under /rest/v1 \
                 as it is. The worker tries again."
                    .to_owned()
            }
            Self::TextIds { column } => format!(
                "Give the table an id column of whole numbers (bigint generated always as identity) and name it in \
                 SUPABASE_COLUMNS, in place of {column}. Ids that are uuids or other texts can't be read yet."
            ),
            Self::NoIds => "The id column must be a bigint; check which column the settings name.".to_owned(),
            Self::NoTexts => "Let CATALOG name a column that holds text.".to_owned(),
            Self::Refused { .. } => {
                "Check that SUPABASE_URL is the project's address: PostgREST must answer there.".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use url::Url;

    fn answer(status: u16, body: &[u8]) -> RestError {
        let url = Url::parse("https://example.org").expect("an address");
        let access = TableAccess::new(url, "key".to_owned().into());
        let status = StatusCode::from_u16(status).expect("a status");
        RestError::of_answer(&access, status, &HeaderMap::new(), body)
    }

    #[test]
    fn codes_decide_before_statuses() {
        let of =
            |status, code: &str| answer(status, format!(r#"{{"code":"{code}","message":""}}"#).as_bytes());
        assert!(matches!(of(401, "42501"), RestError::NotPermitted { .. }));
        assert!(matches!(of(401, "PGRST303"), RestError::Key { status: 401, .. }));
        assert!(matches!(of(404, "42P01"), RestError::MissingTable { .. }));
        assert!(matches!(of(406, "PGRST106"), RestError::MissingSchema { .. }));
        assert!(matches!(of(500, "57014"), RestError::StatementTimeout));
        assert!(matches!(of(504, "PGRST003"), RestError::Busy { status: 504, .. }));
        assert!(matches!(of(400, "PGRST100"), RestError::Refused { status: 400, .. }));
    }

    proptest! {
        #[test]
        fn any_answer_has_a_remedy(status in 300_u16..600, body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let error = answer(status, &body);
            prop_assert!(error.directive() != RetryDirective::Never && !error.advice().is_empty());
        }
    }
}
