//! The port through which pairs leave the ingest: whoever keeps them durably implements it.

use std::error::Error;
use std::fmt;
use std::future::Future;

use crate::correction::Row;
use crate::failure::{Failure, RetryDirective};

/// Keeps pairs durably.
///
/// The ingest hands over the same row more than once as a matter of course: realtime and sweep overlap, and
/// an error is answered by trying again. So [`accept`](Self::accept) must be idempotent by row id.
pub trait Inbox: Send + Sync {
    /// Keeps these rows. Once this returns, every row is durably stored, known from before, or refused.
    fn accept(&self, rows: &[Row]) -> impl Future<Output = Result<Accepted, InboxError>> + Send;

    /// The id last given to [`advance`](Self::advance); 0 when none was.
    ///
    /// This must not be the highest id stored: realtime may deliver row 900 while the sweep is still reading
    /// row 100, and a restart in between would then never read what lies between them.
    fn cursor(&self) -> impl Future<Output = Result<i64, InboxError>> + Send;

    /// How many ids up to and including `last` are kept, refused ones among them.
    fn count_up_to(&self, last: i64) -> impl Future<Output = Result<u64, InboxError>> + Send;

    /// Which of these ids are not kept.
    fn missing(&self, ids: &[i64]) -> impl Future<Output = Result<Vec<i64>, InboxError>> + Send;

    /// Records durably that a sweep has handed over every row that was visible up to this id.
    fn advance(&self, id: i64) -> impl Future<Output = Result<(), InboxError>> + Send;
}

/// What became of some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Stored now.
    pub stored: u64,
    /// Known from before.
    pub duplicates: u64,
    /// Kept out of training, with a reason.
    pub refused: u64,
}

/// The inbox did not do what it was asked; nothing is lost, the ingest asks again.
#[derive(Debug)]
pub struct InboxError(Box<dyn Failure>);

impl InboxError {
    /// Wraps what went wrong, keeping its remedy and advice.
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
