//! The port through which rows leave the ingest; durable storage implements it.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::correction::Row;
use crate::failure::{Failure, RetryDirective};

/// Durable storage for rows.
///
/// The ingest often hands over the same row more than once: Realtime and the sweep overlap, and the
/// ingest retries after an error. [`accept`](Self::accept) must therefore be idempotent by row id.
pub trait Inbox: Send + Sync {
    /// Stores these rows. When this method returns, every row is durably stored, already known, or
    /// refused.
    fn accept(&self, rows: &[Row]) -> impl Future<Output = Result<Accepted, InboxError>> + Send;

    /// Returns the id last given to [`advance`](Self::advance), or 0 when there was none.
    ///
    /// This must not be the highest id stored: Realtime may deliver row 900 while the sweep is
    /// still reading row 100. After a restart at that moment, the sweep would never read the rows
    /// in between.
    fn cursor(&self) -> impl Future<Output = Result<i64, InboxError>> + Send;

    /// Returns the number of ids up to and including `last` that are kept, refused ones included.
    fn count_up_to(&self, last: i64) -> impl Future<Output = Result<u64, InboxError>> + Send;

    /// Returns those of these ids that are not kept.
    fn missing(&self, ids: &[i64]) -> impl Future<Output = Result<Vec<i64>, InboxError>> + Send;

    /// Records durably that a sweep has handed over every row visible up to this id.
    fn advance(&self, id: i64) -> impl Future<Output = Result<(), InboxError>> + Send;

    /// Notes that a sweep has handed over every row up to the end of the table. `took` is the time
    /// since it began. Nothing is lost if this fails.
    fn swept(&self, took: Duration) -> impl Future<Output = Result<(), InboxError>> + Send {
        let _ = took;
        std::future::ready(Ok(()))
    }
}

/// Outcome of a batch of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Number of rows stored by this call.
    pub stored: u64,
    /// Number of rows known from before.
    pub duplicates: u64,
    /// Number of rows kept out of training, each with a reason.
    pub refused: u64,
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
