//! Figures of the latest runs, for metrics: one read, however many runs there were.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::BrokerError;
use super::job_id::JobId;
use super::run_index::{RunScores, RunSummary};
use super::runs::Runs;

/// The run that published a model last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LastPublished {
    /// Id of the run.
    pub(super) id: JobId,
    /// Time at which the run ended.
    pub(super) at: Timestamp,
    /// Scores of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scores: Option<RunScores>,
}

impl LastPublished {
    /// Returns the later one of the run that is known and a run that has changed.
    pub(super) fn or(known: Option<Self>, run: &RunSummary) -> Option<Self> {
        let ended = run.ended_at.filter(|_| run.state.is_final() && run.published.is_some());
        match (known, ended) {
            (Some(known), Some(at)) if known.at > at => Some(known),
            (_, Some(at)) => Some(Self { id: run.id.clone(), at, scores: run.scores }),
            (known, None) => known,
        }
    }
}

/// Figures of the latest runs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LatestRuns {
    /// Time at which the last run ended that published a model.
    pub published_at: Option<Timestamp>,
    /// Scores of the model that it published.
    pub published: Option<RunScores>,
    /// Scores of the model that was evaluated last, among the runs on the newest page of the index.
    pub candidate: Option<RunScores>,
}

impl Runs {
    /// Reads the figures of the latest runs from the index; without an index, there are none.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn latest(&self) -> Result<LatestRuns, BrokerError> {
        let Some(newest) = self.index.complete().await? else { return Ok(LatestRuns::default()) };
        Ok(LatestRuns {
            published_at: newest.last_published.as_ref().map(|run| run.at),
            published: newest.last_published.and_then(|run| run.scores),
            candidate: newest.runs.iter().rev().find_map(|run| run.scores),
        })
    }
}
