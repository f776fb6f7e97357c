//! What the ingest shows of itself: a state to look at, and events to follow.

use jiff::Timestamp;
use serde::Serialize;

use crate::failure::{Failure, RetryDirective, chain};

/// The ingest at this moment, for status pages and metrics. Counters start at 0 with the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IngestStatus {
    /// Row changes are flowing: subscribed, not merely connected.
    pub connected: bool,
    /// How many connections were begun.
    pub generation: u64,
    /// Pairs stored that Realtime delivered first.
    pub rows_by_realtime: u64,
    /// Pairs stored that a sweep found first.
    pub rows_by_sweep: u64,
    /// Pairs handed over that the inbox knew already.
    pub duplicates: u64,
    /// Rows kept out of training by the inbox.
    pub refused: u64,
    /// Rows skipped because their columns are of other types.
    pub malformed: u64,
    /// Times something may have been missed and a sweep was asked for.
    pub gaps: u64,
    /// Sweeps that came to the end of the table.
    pub sweeps: u64,
    /// When the last of them did.
    pub last_sweep_at: Option<Timestamp>,
    /// How far a long sweep has come, while it lasts.
    pub backfill: Option<Backfill>,
    /// Rows that only the comparison of all ids found.
    pub rows_by_audit: u64,
    /// Comparisons of the table's count with the inbox's.
    pub audits: u64,
    /// Why no row is visible, until one is.
    pub visibility_trouble: Option<Trouble>,
    /// Why there is no connection, until there is one again.
    pub realtime_trouble: Option<Trouble>,
    /// Why the last sweep or delivery failed, until a sweep succeeds.
    pub sweep_trouble: Option<Trouble>,
}

impl IngestStatus {
    /// The trouble that matters most: without sweeps rows are lost to us, without Realtime they are late.
    pub fn last_error(&self) -> Option<&Trouble> {
        let troubles = [&self.sweep_trouble, &self.visibility_trouble, &self.realtime_trouble];
        troubles.into_iter().find_map(Option::as_ref)
    }
}

/// How far a long sweep has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Backfill {
    /// Rows read since it began.
    pub read: u64,
    /// Rows that were to be read when it began, if the table said.
    pub total: Option<u64>,
    /// The id up to which rows are kept; a restart goes on from there.
    pub cursor: i64,
}

/// A failure as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The error with its sources.
    pub error: String,
    /// Who must act.
    pub remedy: RetryDirective,
    /// What to do.
    pub advice: String,
}

impl Trouble {
    pub(super) fn of(failure: &impl Failure) -> Self {
        Self { error: chain(failure), remedy: failure.directive(), advice: failure.advice() }
    }
}

/// Something that happened. Carries ids and counts, never a pair's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestEvent {
    /// A connection is being made.
    GenerationStarted {
        /// Its number, from 1.
        generation: u64,
    },
    /// Row changes flow (again).
    Subscribed {
        /// The connection's number.
        generation: u64,
    },
    /// A connection ended.
    GenerationEnded {
        /// The connection's number.
        generation: u64,
        /// Why.
        trouble: Trouble,
    },
    /// Realtime delivered a row and the inbox took it.
    Arrived {
        /// The row's id.
        id: i64,
    },
    /// A sweep read to the end of the table.
    Swept {
        /// How many pairs were new to the inbox.
        stored: u64,
        /// The id up to which everything visible has been handed over.
        cursor: i64,
    },
    /// A long sweep goes on.
    Progress(Backfill),
    /// The table's rows were compared with the inbox's.
    Audited {
        /// How many rows were missing and have been handed over.
        found: u64,
    },
    /// No row is visible, which is no error to the table.
    Invisible {
        /// How many rows are kept from before; 0 when there never was one, so that the table may just be empty.
        kept: u64,
        /// What that may mean.
        trouble: Trouble,
    },
    /// A sweep or a delivery failed; it is tried again.
    Failed {
        /// Why.
        trouble: Trouble,
    },
}
