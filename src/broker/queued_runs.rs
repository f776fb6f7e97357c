//! The runs behind the requests on the queue: the one in progress, and those that wait.

use futures::{StreamExt, TryStreamExt};

use super::error::BrokerError;
use super::job_id::JobId;
use super::jobs::Jobs;
use super::request::JobRequest;
use super::request_ids::RequestIds;
use super::run_state::RunState;

/// Number of records that are read at the same time.
const READS_IN_FLIGHT: usize = 16;

/// Runs that have not ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueuedRuns {
    /// Run in progress, or between two attempts.
    pub running: Option<JobId>,
    /// Runs that wait, in the order in which they will be taken.
    pub waiting: Vec<JobId>,
    /// Number of further requests.
    pub more: usize,
}

impl Jobs {
    /// Returns the runs of the first requests on the queue: the one in progress and at most `limit`
    /// that wait. The number of reads depends on the queue, not on the runs there were.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn queued_runs(&self, limit: usize) -> Result<QueuedRuns, BrokerError> {
        let outstanding = usize::try_from(self.outstanding().await?).unwrap_or(usize::MAX);
        let (mut from, mut read, mut ids) = (1, 0, Vec::new());
        let mut request_ids = RequestIds::new(&self.streams);
        while read <= limit && read < outstanding {
            let Some(message) = self.stored_request(from).await? else { break };
            (from, read) = (message.sequence + 1, read + 1);
            // A worker refuses a body that is no request, without a run.
            let Ok(request) = JobRequest::parse(&message.payload) else { continue };
            let id = request_ids.id(&request, message.sequence).await?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let states: Vec<Option<RunState>> = futures::stream::iter(ids.clone())
            .map(|id| async move {
                let found = self.runs.load(&id).await?;
                Ok::<_, BrokerError>(found.map(|(record, _)| record.state))
            })
            .buffered(READS_IN_FLIGHT)
            .try_collect()
            .await?;
        let mut queued = QueuedRuns { more: outstanding.saturating_sub(read), ..QueuedRuns::default() };
        for (id, state) in ids.into_iter().zip(states) {
            match state {
                Some(RunState::Running) if queued.running.is_none() => queued.running = Some(id),
                // A worker is about to write the record of a request without one.
                Some(RunState::Running | RunState::Queued) | None => queued.waiting.push(id),
                // The end of the run is recorded, and its request not yet removed.
                Some(_) => {}
            }
        }
        queued.more += queued.waiting.len().saturating_sub(limit);
        queued.waiting.truncate(limit);
        Ok(queued)
    }
}
