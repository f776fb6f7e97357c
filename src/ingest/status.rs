//! State of the ingest, for status pages and metrics, and its events, for subscribers.

use jiff::Timestamp;
use serde::Serialize;

use crate::failure::{Failure, RetryDirective, chain};

/// The ingest at this moment, for status pages and metrics. Counters start at 0 with the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IngestStatus {
    /// True while row changes arrive: subscribed, not merely connected.
    pub connected: bool,
    /// Number of Realtime sessions started, and thus the number of the current one.
    pub generation: u64,
    /// Number of stored pairs that Realtime delivered first.
    pub rows_by_realtime: u64,
    /// Number of stored pairs that a sweep found first.
    pub rows_by_sweep: u64,
    /// Number of rows that Realtime delivered and the inbox has not answered for yet.
    pub undelivered: u64,
    /// Number of pairs handed over that the inbox already knew.
    pub duplicates: u64,
    /// Number of rows that the inbox kept out of training.
    pub refused: u64,
    /// Number of rows skipped because a column is missing or has another type.
    pub malformed: u64,
    /// Number of kept rows whose text was replaced because it has changed in the table.
    pub changed: u64,
    /// Number of kept rows that were erased because they were deleted from the table.
    pub removed: u64,
    /// Number of kept rows that the last round of the comparison did not find in the table, and that
    /// were not erased.
    pub vanished: u64,
    /// Number of times that the table's ids have started anew; `None` until the first sweep has begun.
    pub series: Option<u32>,
    /// Number of times that rows may have been missed, each of which asked for a sweep.
    pub gaps: u64,
    /// Number of sweeps that reached the end of the table.
    pub sweeps: u64,
    /// Time at which the last of these sweeps reached the end.
    pub last_sweep_at: Option<Timestamp>,
    /// Progress of a long sweep, while it runs.
    pub backfill: Option<Backfill>,
    /// Number of rows that only the comparison of all ids found.
    pub rows_by_audit: u64,
    /// Number of comparisons of the table's row count with the inbox's.
    pub audits: u64,
    /// Reason why no row is visible, until a row is.
    pub visibility_trouble: Option<ReportedError>,
    /// Reason why the last Realtime session ended, until the next one subscribes.
    pub realtime_trouble: Option<ReportedError>,
    /// Reason why the last sweep or delivery failed, until a sweep succeeds.
    pub sweep_trouble: Option<ReportedError>,
}

impl IngestStatus {
    /// Returns the most important trouble: without sweeps, the worker misses rows; without
    /// Realtime, rows only come late.
    pub fn last_error(&self) -> Option<&ReportedError> {
        let troubles = [&self.sweep_trouble, &self.visibility_trouble, &self.realtime_trouble];
        troubles.into_iter().find_map(Option::as_ref)
    }
}

/// Progress of a long sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Backfill {
    /// Number of rows read since the sweep began.
    pub read: u64,
    /// Number of rows to read when the sweep began, if the table could count them.
    pub total: Option<u64>,
    /// Id up to which rows are kept; a restart continues there.
    pub cursor: i64,
}

/// A failure as status pages show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedError {
    /// Error message with its sources.
    pub error: String,
    /// Retry directive, which tells who must act.
    pub remedy: RetryDirective,
    /// Advice for the operator.
    pub advice: String,
}

impl ReportedError {
    pub(super) fn of(failure: &impl Failure) -> Self {
        Self { error: chain(failure), remedy: failure.directive(), advice: failure.advice() }
    }
}

/// Event of the ingest. Carries ids and counts, never a pair's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestEvent {
    /// A Realtime session starts to connect.
    SessionStarted {
        /// Number of the session, from 1.
        generation: u64,
    },
    /// Row changes arrive (again).
    Subscribed {
        /// Number of the session.
        generation: u64,
    },
    /// A Realtime session ended.
    SessionEnded {
        /// Number of the session.
        generation: u64,
        /// Reason for its end, and advice.
        trouble: ReportedError,
    },
    /// Realtime delivered a row, and the inbox accepted it.
    Arrived {
        /// Id of the row.
        id: i64,
    },
    /// Rows that Realtime delivered were stored, which no sweep had stored before.
    Stored {
        /// Number of pairs.
        pairs: u64,
    },
    /// Rows have ids that other rows had before: the table was truncated, or a backup was restored.
    IdsStartedAnew {
        /// Number of times that this has happened.
        series: u32,
    },
    /// Kept rows have changed in the table, or were deleted from it.
    Revised {
        /// Number of rows whose text was replaced.
        changed: u64,
        /// Number of rows that were erased.
        removed: u64,
    },
    /// Kept rows are no longer in the table, and were not erased.
    Vanished {
        /// Number of these rows.
        rows: u64,
    },
    /// A sweep reached the end of the table.
    Swept {
        /// Number of pairs that were new to the inbox.
        stored: u64,
        /// Id up to which every visible row has been handed over.
        cursor: i64,
    },
    /// A long sweep made progress.
    Progress(Backfill),
    /// An audit compared the table's rows with the inbox's.
    Audited {
        /// Number of rows that were missing and that the audit handed over.
        found: u64,
    },
    /// No row is visible, which the table does not report as an error.
    Invisible {
        /// Number of rows kept from before. 0 when there never was one; the table may then just be
        /// empty.
        kept: u64,
        /// Possible cause, and advice.
        trouble: ReportedError,
    },
    /// A sweep or a delivery failed; the ingest tries again.
    Failed {
        /// Error of the sweep or delivery, and advice.
        trouble: ReportedError,
    },
}
