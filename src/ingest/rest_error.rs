//! Reasons why the table can't be read.

use std::time::Duration;

use super::access::{AccessError, TableAccess};
use super::answer_kind::AnswerKind;
use super::error_answer::ErrorAnswer;
use super::page_size::SmallerPage;
use crate::failure::{Failure, RetryDirective};
use crate::row_identity::{RowId, is_uuid};
use crate::table_file::{MAX_BYTES, MAX_RECORDS};

/// Reason why the table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The settings make no valid address or no valid header.
    #[error(transparent)]
    TableAccess(#[from] AccessError),
    /// The connection failed, no answer came in time, or the answer was cut short.
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    /// The service, or a gateway in front of it, answered something else than rows.
    #[error(transparent)]
    Answer(Box<ErrorAnswer>),
    /// The answer is not the expected JSON, for instance because it was cut short.
    #[error("the answer can't be read")]
    Body(#[source] serde_json::Error),
    /// The answer is larger than any page may be.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// Limit in bytes.
        limit: usize,
    },
    /// The answer to a count holds no number.
    #[error("the answer to a count holds no number")]
    NoCount,
    /// The answer holds a row that was not asked for, or rows in another order: a cache or a proxy
    /// answered another question. Reading on would never advance, or skip rows.
    #[error("the answer holds row {got}, which was not asked for, or not in this order")]
    NotAsked {
        /// Id of the row in the answer.
        got: RowId,
    },
    /// The answer to the question for the next page is the page before: a cache or a proxy answered
    /// another question.
    #[error("the next page is the page before")]
    SamePage,
    /// The id column held whole numbers before, and holds texts now.
    #[error("the id column {column} held whole numbers before, and holds texts now")]
    IdsBecameTexts {
        /// Name of the column.
        column: String,
    },
    /// The id column held texts before, and holds whole numbers now.
    #[error("the id column {column} held texts before, and holds whole numbers now")]
    IdsBecameNumbers {
        /// Name of the column.
        column: String,
    },
    /// The ids are texts, and no column has the time of the insert.
    #[error("the ids in {column} are texts, which tell no order, and no column has the time of the insert")]
    NoOrder {
        /// Name of the column of the ids.
        column: String,
    },
    /// A page has rows, but none with an id.
    #[error("no row of a page has a whole number or a text in its id column")]
    NoIds,
    /// A catalog's column of names holds values that are not text.
    #[error("the column of names holds values that are not text")]
    NoTexts,
    /// A catalog's table holds more names than a file may.
    #[error("the table has more than {MAX_RECORDS} names, or more than {} MiB of them", MAX_BYTES >> 20)]
    TooManyTexts,
}

impl RestError {
    /// Returns true when the ids that were asked for may be the reason: they are no values of the column, or
    /// the column takes two texts for one, as `citext` does. A number or a UUID is written in one way only,
    /// so other rows come from a cache then.
    pub(super) fn is_about(&self, ids: &[RowId]) -> bool {
        match self {
            Self::NotAsked { .. } => ids.iter().any(|id| id.text().is_some_and(|text| !is_uuid(text))),
            Self::Answer(answer) => matches!(answer.kind, AnswerKind::ColumnType | AnswerKind::Refused),
            _ => false,
        }
    }

    /// Returns the kind of the answer, when the service answered something else than rows.
    pub fn kind(&self) -> Option<AnswerKind> {
        if let Self::Answer(answer) = self { Some(answer.kind) } else { None }
    }

    /// Returns the wait that the service asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        if let Self::Answer(answer) = self { answer.retry_after } else { None }
    }

    /// Returns the remedy of a smaller page.
    pub(super) fn smaller_page(&self) -> SmallerPage {
        match self {
            Self::Answer(answer) => answer.smaller_page(),
            Self::TooLarge { .. } => SmallerPage::MayHelp,
            Self::Body(_) => SmallerPage::MayHelpLater,
            Self::Request(error) if error.is_timeout() || error.is_body() => SmallerPage::MayHelpLater,
            Self::TableAccess(_)
            | Self::Request(_)
            | Self::NoCount
            | Self::NotAsked { .. }
            | Self::SamePage
            | Self::IdsBecameTexts { .. }
            | Self::IdsBecameNumbers { .. }
            | Self::NoOrder { .. }
            | Self::NoIds
            | Self::NoTexts
            | Self::TooManyTexts => SmallerPage::IsNoRemedy,
        }
    }

    /// Returns true when the answer's size is certainly the reason. For a page of one row, that row
    /// is too large.
    pub(super) fn is_about_size(&self) -> bool {
        matches!(self, Self::TooLarge { .. }) || self.kind() == Some(AnswerKind::PageTooLarge)
    }

    /// Returns true when, for a page of one row, that row may be the reason.
    pub(super) fn may_be_about_one_row(&self) -> bool {
        matches!(self.kind(), Some(AnswerKind::StatementTimeout | AnswerKind::RowFails))
    }

    /// Returns true when the only missing column is that of the time of the insert.
    pub(super) fn lacks_created_at(&self, access: &TableAccess) -> bool {
        let Self::Answer(answer) = self else { return false };
        let column = access.columns.created_at.as_str();
        // PostgreSQL: `column t.created_at does not exist`.
        answer.kind == AnswerKind::MissingColumn
            && [format!(".{column} does not exist"), format!("column {column} does not exist")]
                .iter()
                .any(|words| answer.said.says(words))
    }
}

impl Failure for RestError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Answer(answer) => answer.directive(),
            Self::Request(_)
            | Self::Body(_)
            | Self::TooLarge { .. }
            | Self::NoCount
            | Self::NotAsked { .. }
            | Self::SamePage => RetryDirective::Retry,
            Self::TableAccess(_)
            | Self::IdsBecameTexts { .. }
            | Self::IdsBecameNumbers { .. }
            | Self::NoOrder { .. }
            | Self::NoIds
            | Self::NoTexts
            | Self::TooManyTexts => RetryDirective::Person,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::TableAccess(error) => error.advice(),
            Self::Answer(answer) => answer.advice(),
            Self::Request(_) => "Check SUPABASE_URL and the network; the worker tries again.".to_owned(),
            Self::Body(_) => "Nothing to do: the worker tries again.".to_owned(),
            Self::TooLarge { .. } => "Check the table for rows with very long texts.".to_owned(),
            Self::NoCount | Self::NotAsked { .. } | Self::SamePage => {
                "Let no cache or proxy answer in front of SUPABASE_URL: it must pass on every request under \
                 /rest/v1 and its answer as they are. The worker tries again."
                    .to_owned()
            }
            Self::IdsBecameTexts { column } | Self::IdsBecameNumbers { column } => format!(
                "Name the column that had the ids before in SUPABASE_COLUMNS, in place of {column}. If there is none \
                 any more, every row counts as new: set NATS_NAMESPACE to a name of its own, and the worker starts \
                 with empty streams."
            ),
            Self::NoOrder { column } => format!(
                "Add the column (ALTER TABLE … ADD COLUMN created_at timestamptz NOT NULL DEFAULT now()) or name it in \
                 SUPABASE_COLUMNS. A table whose {column} is a whole number needs none."
            ),
            Self::NoIds => {
                "Name the primary key as id in SUPABASE_COLUMNS. A view needs such a column, too.".to_owned()
            }
            Self::NoTexts => "Let CATALOG name a column that holds text.".to_owned(),
            Self::TooManyTexts => "Let CATALOG name a table or a view with fewer names.".to_owned(),
        }
    }
}
