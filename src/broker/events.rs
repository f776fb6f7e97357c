//! Progress and outcomes, for whoever listens: `nats sub 'training.events.>'` is a live log.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Clock;
use super::error::QueueError;
use super::job_id::JobId;
use super::streams::{Streams, TRAINING_EVENTS};
use crate::correction::subject_token;

/// One event, as it lies on the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The run it belongs to.
    pub job: JobId,
    /// The stage it tells of, also the last token of its subject.
    pub stage: String,
    /// When it was published.
    pub at: Timestamp,
    /// Whatever the stage tells: figures, ids, counts. Never a pair's text.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

/// Publishes events.
#[derive(Debug, Clone)]
pub struct Events {
    streams: Streams,
    clock: Arc<dyn Clock>,
}

impl Events {
    /// Publishes on the events stream, dating by `clock`.
    pub fn new(streams: &Streams, clock: Arc<dyn Clock>) -> Self {
        Self { streams: streams.clone(), clock }
    }

    /// The time, by the clock that dates events.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Publishes an event that is worth a line in the log, not a failure, when it can't be published: the run's
    /// record is what counts.
    pub(crate) async fn tell(&self, job: &JobId, stage: &str, detail: Value) {
        if let Err(error) = self.publish(job, stage, detail).await {
            tracing::warn!(%job, stage, error = crate::failure::chain(&error), "an event was not published");
        }
    }

    /// Publishes an event and waits until it is stored. `stage` becomes one token of the subject, so anything
    /// but lower case letters, digits, `-` and `_` is replaced there.
    ///
    /// # Errors
    /// [`QueueError::Publish`], [`QueueError::Encode`].
    pub async fn publish(&self, job: &JobId, stage: &str, detail: Value) -> Result<(), QueueError> {
        let stage = subject_token(stage);
        let subject = format!("training.events.{job}.{stage}");
        let event = Event { job: job.clone(), stage, at: self.clock.now(), detail };
        let body = serde_json::to_vec(&event)?;
        let failed = |source| QueueError::Publish { stream: TRAINING_EVENTS, source };
        let context = self.streams.context();
        context.publish(subject, body.into()).await.map_err(failed)?.await.map_err(failed)?;
        Ok(())
    }
}
