//! What the ingest shows of itself: a state to look at, and events to follow.

use jiff::Timestamp;
use serde::Serialize;

use crate::failure::{Failure, Remedy, chain};

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
    /// Why there is no connection, until there is one again.
    pub realtime_trouble: Option<Trouble>,
    /// Why the last sweep or delivery failed, until a sweep succeeds.
    pub sweep_trouble: Option<Trouble>,
}

impl IngestStatus {
    /// The trouble that matters most: without sweeps rows are lost to us, without Realtime they are late.
    pub fn last_error(&self) -> Option<&Trouble> {
        self.sweep_trouble.as_ref().or(self.realtime_trouble.as_ref())
    }
}

/// A failure as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The error with its sources.
    pub error: String,
    /// Who must act.
    pub remedy: Remedy,
    /// What to do.
    pub advice: String,
}

impl Trouble {
    pub(super) fn of(failure: &impl Failure) -> Self {
        Self { error: chain(failure), remedy: failure.remedy(), advice: failure.advice() }
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
    /// A sweep or a delivery failed; it is tried again.
    Failed {
        /// Why.
        trouble: Trouble,
    },
}
