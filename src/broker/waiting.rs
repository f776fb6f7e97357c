//! The records of requests that wait: whatever is on the queue shows in the list of runs.
//!
//! A request may come from anybody's `nats pub training.jobs`, and it is only taken once the run before it has
//! ended. So any worker, whatever its role, hears of it and writes its record.

use std::time::Duration;

use async_nats::jetstream::stream::DirectGetErrorKind;
use futures::StreamExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::error::QueueError;
use super::event_stage::QUEUED;
use super::job_id::JobId;
use super::jobs::{Jobs, retry_of};
use super::request::JobRequest;
use super::runs::RunRecord;
use super::streams::JOBS_SUBJECT;
use crate::failure::chain;

/// A notice can get lost with a connection, and it can come before what it announces is stored. So looks follow each,
/// first after this pause, then after twice as long, and so on.
const FOLLOWING_LOOK: Duration = Duration::from_millis(50);
/// So often the whole queue is read without a notice.
const UNASKED_LOOK: Duration = Duration::from_secs(30);
/// The pause after trouble with the broker.
const PAUSE: Duration = Duration::from_secs(1);
/// More requests than this at once are registered when they come nearer.
const LOOK_AHEAD: usize = 1_000;

impl Jobs {
    /// Writes the record of a run that waits, unless it is known, and tells the world.
    pub(super) async fn register(&self, id: &JobId, request: &JobRequest) -> Result<(), QueueError> {
        let record = RunRecord::new(id.clone(), request.clone(), self.events.now());
        match self.runs.create(&record).await {
            Ok(_) => {
                let detail = json!({
                    "reason": request.reason,
                    "first_sequence": request.first_sequence,
                    "last_sequence": request.last_sequence,
                });
                self.events.tell(id, QUEUED, detail).await;
                Ok(())
            }
            Err(QueueError::Exists { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads the queue and writes the records that are missing. What makes no sense is left to whoever takes it.
    ///
    /// # Errors
    /// [`QueueError::Request`].
    pub async fn register_waiting(&self) -> Result<(), QueueError> {
        self.register_from(1).await.map(drop)
    }

    /// The same for requests from a stream sequence on. Gives the sequence that comes after those that were read.
    async fn register_from(&self, mut from: u64) -> Result<u64, QueueError> {
        for _ in 0..LOOK_AHEAD {
            let found = self.streams.training().direct_get_next_for_subject(JOBS_SUBJECT, Some(from)).await;
            let message = match found {
                Ok(message) => message,
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
                Err(error) => return Err(QueueError::request("reading the queue")(error.into())),
            };
            if let Ok(request) = JobRequest::parse(&message.payload) {
                let id = request.job_id.clone().unwrap_or_else(|| JobId::manual(message.sequence));
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

    /// Registers what waits whenever something was added, until cancelled.
    pub async fn keep_registered(&self, cancel: &CancellationToken) {
        let mut connects = self.streams.connection().connects();
        while !cancel.is_cancelled() {
            let trouble = tokio::select! {
                () = cancel.cancelled() => return,
                // Subscriptions survive a reconnection, notices during it don't.
                Ok(()) = connects.changed() => continue,
                trouble = self.watch_queue() => trouble,
            };
            if let Err(error) = trouble {
                tracing::warn!(error = chain(&error), again_in = ?PAUSE, "the queue can't be watched");
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn watch_queue(&self) -> Result<(), QueueError> {
        // Registered before the first look, so that nothing falls between.
        let mut notices = self
            .streams
            .connection()
            .client()
            .subscribe(JOBS_SUBJECT)
            .await
            .map_err(|error| QueueError::request("watching the queue")(error.into()))?;
        let (mut from, mut pause) = (1, FOLLOWING_LOOK);
        loop {
            // What was read is not read again, so that a long queue costs nothing.
            from = self.register_from(from).await?;
            tokio::select! {
                () = tokio::time::sleep(pause) => {
                    pause = (pause * 2).min(UNASKED_LOOK);
                    if pause == UNASKED_LOOK {
                        from = 1;
                    }
                }
                notice = notices.next() => match notice {
                    Some(_) => pause = FOLLOWING_LOOK,
                    None => return Ok(()),
                },
            }
        }
    }
}
