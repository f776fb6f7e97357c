//! The port through which rows leave the ingest; durable storage implements it.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::correction::Row;
use crate::failure::{Failure, RetryDirective};
use crate::row_identity::{KeptRow, KeptText, RowId};

/// Durable storage for rows.
///
/// The ingest often hands over the same row more than once: Realtime and the sweep overlap, and the
/// ingest retries after an error. [`accept`](Self::accept) must therefore be idempotent.
pub trait Inbox: Send + Sync {
    /// Stores the rows that are new. When this method returns, every row is durably stored, known,
    /// refused, or reported as differing or late.
    fn accept(&self, rows: &[Row]) -> impl Future<Output = Result<Accepted, InboxError>> + Send;

    /// Stores the rows that are new, late ones included: since they were read, the table has shown which
    /// series its ids belong to. When this method returns, every row is durably stored, known, refused, or
    /// reported as differing.
    fn accept_late(&self, rows: &[Row]) -> impl Future<Output = Result<Accepted, InboxError>> + Send;

    /// Stores the text that rows have in the table now. Each row was read from the table after
    /// [`kept`](Self::kept) returned it. A row that has changed in the inbox meanwhile is reported as
    /// differing.
    fn replace(&self, rows: &[(KeptRow, Row)]) -> impl Future<Output = Result<Accepted, InboxError>> + Send;

    /// Keeps a row out of training that is too large to be read, by its id alone. A row that is kept
    /// already stays as it is.
    fn refuse(&self, id: &RowId) -> impl Future<Output = Result<Accepted, InboxError>> + Send;

    /// Erases rows that are no longer in the table, and returns their number. Leaves out a row that
    /// has changed in the inbox since [`kept`](Self::kept) returned it.
    fn remove(&self, rows: &[KeptRow]) -> impl Future<Output = Result<u64, InboxError>> + Send;

    /// Returns the position last given to [`advance`](Self::advance).
    fn position(&self) -> impl Future<Output = Result<Position, InboxError>> + Send;

    /// Records a position durably. A position that is behind the recorded one, because another
    /// listener is ahead, leaves that one's cursor as it is.
    fn advance(&self, position: &Position) -> impl Future<Output = Result<(), InboxError>> + Send;

    /// Returns the number of rows with an id up to and including `last` that are kept, refused ones
    /// included.
    fn count_up_to(&self, last: i64) -> impl Future<Output = Result<u64, InboxError>> + Send;

    /// Returns those of these ids that were never kept.
    fn missing(&self, ids: &[i64]) -> impl Future<Output = Result<Vec<i64>, InboxError>> + Send;

    /// Returns the rows that are kept under these ids.
    fn kept(&self, ids: &[i64]) -> impl Future<Output = Result<Vec<KeptRow>, InboxError>> + Send;

    /// Returns the kept rows with an id above `after` and up to `last` that the table had when they were
    /// handed over last: not those that went with the whole table before its ids started anew.
    fn kept_between(
        &self,
        after: i64,
        last: i64,
    ) -> impl Future<Output = Result<Vec<KeptRow>, InboxError>> + Send;

    /// Returns the next kept ids that are texts, in the order of their numbers after `after`, at most
    /// `count`.
    fn text_ids_after(
        &self,
        after: i64,
        count: usize,
    ) -> impl Future<Output = Result<Vec<KeptText>, InboxError>> + Send;

    /// Notes that a sweep has handed over every row up to the end of the table. `took` is the time
    /// since it began. Nothing is lost if this fails.
    fn swept(&self, took: Duration) -> impl Future<Output = Result<(), InboxError>> + Send {
        let _ = took;
        std::future::ready(Ok(()))
    }
}

/// Position of the sweep in the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Series of ids that the cursor belongs to; see [`row_identity`](crate::row_identity).
    #[serde(default)]
    pub series: u32,
    /// Id up to which every visible row was handed over; 0 before the first.
    ///
    /// This must not be the highest id stored: Realtime may deliver row 900 while the sweep is still
    /// reading row 100. After a restart at that moment, the sweep would never read the rows in
    /// between.
    #[serde(rename = "id")]
    pub cursor: i64,
    /// Id up to which kept rows were compared with the table again, in the current round; as a number where
    /// ids are texts.
    #[serde(default)]
    pub compared: i64,
    /// Place up to which every visible row was handed over, where ids are texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inserted: Option<InsertPlace>,
    /// Kept rows minus visible rows after the last audit: rows deleted from the table, minus malformed rows,
    /// which are never kept. An audit compares every id when it sees another difference, also one that
    /// changed while no worker ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<i64>,
    /// Newest time of an update that was read, where the table has such a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
}

/// Place in the order of inserts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsertPlace {
    /// Time of an insert, as the database writes it.
    pub at: String,
    /// Id of the row; `None` for the place before every row of that time. Only UUIDs are recorded: another
    /// text may say who a row is about, and the row may be erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Outcome of a batch of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Number of rows stored by this call.
    pub stored: u64,
    /// Number of rows known from before.
    pub duplicates: u64,
    /// Number of rows kept out of training, each with a reason.
    pub refused: u64,
    /// Number of the stored and refused rows that replaced an earlier text.
    pub changed: u64,
    /// Ids of rows that are kept with another text. Nothing was stored for them.
    pub differing: Vec<i64>,
    /// Ids of new rows that are not above every kept id of the current series, and of new rows after such
    /// a one. Nothing was stored for them: they were committed late, or the table's ids have started anew.
    pub late: Vec<i64>,
    /// Current series of the table's ids, which grows when a row has the id of another row; `None` when
    /// there was no row to tell it.
    pub series: Option<u32>,
}

/// A failed call to the inbox. Nothing is lost: the ingest tries again.
#[derive(Debug)]
pub struct InboxError(Box<dyn Failure>);

impl InboxError {
    /// Wraps a failure, keeping its retry directive and advice.
    pub fn new(failure: impl Failure) -> Self {
        Self(Box::new(failure))
    }
}

impl fmt::Display for InboxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the inbox failed")
    }
}

impl Error for InboxError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl Failure for InboxError {
    fn directive(&self) -> RetryDirective {
        self.0.directive()
    }

    fn advice(&self) -> String {
        self.0.advice()
    }
}
