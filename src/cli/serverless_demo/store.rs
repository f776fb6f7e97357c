//! The broker's store of a recipe, read while its machine is stopped.

use jiff::Timestamp;

use crate::broker::{RunRecord, RunState};
use crate::cli::CliError;
use crate::settings::Settings;
use crate::trigger::DueJob;
use crate::worker::BrokerHandles;

/// Contents of a broker's store.
pub(super) struct StoreContents {
    /// Stream sequence of the last pair.
    pub(super) last_sequence: u64,
    /// Time at which the newest pair was stored, if it is newer than those that are known.
    pub(super) stored_at: Option<Timestamp>,
    /// Number of pairs that no run covers.
    pub(super) pending: u64,
    /// Number of pairs that start a run.
    pub(super) threshold: u64,
    /// The next run that is due by time.
    pub(super) due: Option<DueJob>,
    /// Ids of rows that are not in the store.
    pub(super) missing: Vec<i64>,
    /// Records of the runs, oldest first.
    pub(super) runs: Vec<RunRecord>,
}

impl StoreContents {
    /// Opens the store, as `autovalidate tick` does, and reads it. Starts no run. `known` is the
    /// stream sequence of the last pair that is known; `ids` are the rows of the table.
    pub(super) async fn read(settings: &Settings, known: u64, ids: &[i64]) -> Result<Self, CliError> {
        let handles = Box::pin(BrokerHandles::open(settings)).await?;
        let read = Self::read_from(&handles, known, ids).await;
        handles.streams.connection().close().await;
        read
    }

    async fn read_from(handles: &BrokerHandles, known: u64, ids: &[i64]) -> Result<Self, CliError> {
        let arrivals = handles.corrections.arrivals_after(known).await?;
        let mut runs = handles.runs.list().await?;
        runs.reverse();
        Ok(Self {
            last_sequence: arrivals.last_sequence,
            stored_at: arrivals.newest_at,
            pending: handles.trigger.pending().await?,
            threshold: handles.trigger.policy().threshold,
            due: handles.trigger.next_due().await?,
            missing: handles.corrections.missing(ids).await?,
            runs,
        })
    }

    /// Returns a sentence about rows that are in no run, if there are any.
    pub(super) fn uncovered(&self) -> Option<String> {
        if !self.missing.is_empty() {
            return Some(format!("{} rows are not stored: {:?}", self.missing.len(), self.missing));
        }
        if self.pending > 0 {
            return Some(format!("{} pairs are in no run", self.pending));
        }
        let ended = |run: &&RunRecord| matches!(run.state, RunState::Done | RunState::Refused);
        let covered = self.runs.iter().filter(ended).filter_map(|run| run.last_sequence).max();
        if covered < Some(self.last_sequence) {
            let sentence = format!(
                "the last pair has the sequence {}, and the runs cover {}",
                self.last_sequence,
                covered.unwrap_or_default()
            );
            return Some(
                match self.runs.iter().rev().find_map(|run| run.error.as_ref().map(|error| (run, error))) {
                    Some((run, error)) => {
                        format!("{sentence}; {} is {}: {}", run.id, run.state, error.message)
                    }
                    None => sentence,
                },
            );
        }
        None
    }
}

/// Ends a nats-server that a killed worker left behind: whoever opens the store ends it.
pub(super) async fn end_leftover(settings: &Settings) -> Result<(), CliError> {
    let handles = Box::pin(BrokerHandles::open(settings)).await?;
    handles.streams.connection().close().await;
    Ok(())
}
