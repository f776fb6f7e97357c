//! Run records of requests that wait, so that the list of runs shows the whole queue.
//!
//! Any client can add a request with `nats pub training.jobs`, and a worker takes it only
//! after the run before it has ended. So every worker, whatever its role, watches the queue
//! and writes missing records.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::error::BrokerError;
use super::event_stage::QUEUED;
use super::job_id::JobId;
use super::jobs::{Jobs, retry_of};
use super::request::JobRequest;
use super::request_ids::RequestIds;
use super::runs::RunRecord;
use super::watching::keep_watching;

/// Pause between a notice and the next read of the queue; it doubles with every read up to
/// [`POLL_PERIOD`]. A notice can get lost with a connection, and it can arrive before the message
/// that it announces is stored, so several reads follow each notice.
const REREAD_DELAY: Duration = Duration::from_millis(50);
/// Period at which the whole queue is read when no notice arrives.
const POLL_PERIOD: Duration = Duration::from_secs(30);
/// Largest number of requests that one read registers; later reads register the rest.
const LOOK_AHEAD: usize = 1_000;

impl Jobs {
    /// Writes the record of a run that waits, unless one exists, and publishes an event.
    pub(super) async fn register(&self, id: &JobId, request: &JobRequest) -> Result<(), BrokerError> {
        let record = RunRecord::new(id.clone(), request.clone(), self.events.now());
        match self.runs.create(&record).await {
            Ok(_) => {
                let detail = json!({
                    "reason": request.reason,
                    "first_sequence": request.first_sequence,
                    "last_sequence": request.last_sequence,
                });
                self.events.publish_best_effort(id, QUEUED, detail).await;
                Ok(())
            }
            Err(BrokerError::Exists { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads the queue and writes the missing records. An invalid body is left to
    /// the worker that takes it.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn register_waiting(&self) -> Result<(), BrokerError> {
        self.register_from(1).await.map(drop)
    }

    /// Writes the missing records of requests from the stream sequence `from` on. Returns the
    /// sequence after the last request that was read.
    async fn register_from(&self, mut from: u64) -> Result<u64, BrokerError> {
        let mut ids = RequestIds::new(&self.streams);
        for _ in 0..LOOK_AHEAD {
            let Some(message) = self.stored_request(from).await? else { break };
            if let Ok(request) = JobRequest::parse(&message.payload) {
                let id = ids.id(&request, message.sequence).await?;
                self.register(&id, &request).await?;
                let retry = retry_of(&message.headers);
                if retry > 0 {
                    self.reopen(&id, retry).await?;
                }
            }
            from = message.sequence + 1;
        }
        Ok(from)
    }

    /// Removes the request of a run from the queue, unless it is for a later retry than this one.
    /// Returns true when there was one.
    pub(super) async fn remove_waiting(&self, id: &JobId, retry: u64) -> Result<bool, BrokerError> {
        let (mut from, mut removed, mut ids) = (1, false, RequestIds::new(&self.streams));
        for _ in 0..LOOK_AHEAD {
            let Some(message) = self.stored_request(from).await? else { break };
            if retry_of(&message.headers) <= retry
                && let Ok(request) = JobRequest::parse(&message.payload)
                && ids.id(&request, message.sequence).await? == *id
            {
                let deleted = self.streams.training().delete_message(message.sequence).await;
                removed |= deleted.map_err(BrokerError::request("removing a request"))?;
            }
            from = message.sequence + 1;
        }
        Ok(removed)
    }

    /// Writes missing records whenever a request is added, until cancelled.
    pub async fn keep_registered(&self, cancel: &CancellationToken) {
        let trouble = "the queue can't be watched";
        keep_watching(self.streams.connection(), cancel, trouble, || self.watch_queue()).await;
    }

    async fn watch_queue(&self) -> Result<(), BrokerError> {
        // Subscribed before the first read, so that no request is missed in between.
        let mut notices = self
            .streams
            .connection()
            .client()
            .subscribe(self.streams.names().jobs_subject().to_owned())
            .await
            .map_err(BrokerError::request("watching the queue"))?;
        let (mut from, mut pause) = (1, REREAD_DELAY);
        loop {
            // Requests that were read are not read again, so a long queue costs nothing.
            from = self.register_from(from).await?;
            tokio::select! {
                () = tokio::time::sleep(pause) => {
                    pause = (pause * 2).min(POLL_PERIOD);
                    if pause == POLL_PERIOD {
                        from = 1;
                    }
                }
                notice = notices.next() => match notice {
                    Some(_) => pause = REREAD_DELAY,
                    None => return Ok(()),
                },
            }
        }
    }
}
