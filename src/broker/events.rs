//! Events that report progress and outcomes: `nats sub 'training.events.>'` shows them live.

use std::sync::Arc;

use async_nats::jetstream::stream::DirectGetErrorKind;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Clock;
use super::error::BrokerError;
use super::job_id::JobId;
use super::message_size::{MAX_MESSAGE, fit_detail};
use super::streams::Streams;
use crate::correction::subject_token;

/// Largest detail of an event, in bytes of JSON. The rest of an event has less than a kilobyte.
const MAX_DETAIL: usize = MAX_MESSAGE - 1024;

/// One event, as stored on the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Id of the run.
    pub job: JobId,
    /// Stage that the event reports, also the last token of its subject.
    pub stage: String,
    /// Time of publication.
    pub at: Timestamp,
    /// Data that depends on the stage: figures, ids, counts. Never a pair's text.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

impl Streams {
    /// Returns the last event of a stage of a run, if it is still stored.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub(crate) async fn last_event(&self, job: &JobId, stage: &str) -> Result<Option<Event>, BrokerError> {
        let subject = self.names().event_subject(job, stage);
        match self.events().direct_get_last_for_subject(subject).await {
            // Anybody may publish there.
            Ok(message) => Ok(serde_json::from_slice(&message.payload).ok()),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(BrokerError::request("reading the events of a run")(error)),
        }
    }
}

/// Publisher of events.
#[derive(Debug, Clone)]
pub struct Events {
    streams: Streams,
    clock: Arc<dyn Clock>,
}

impl Events {
    /// Creates a publisher on the events stream that dates events by `clock`.
    pub fn new(streams: &Streams, clock: Arc<dyn Clock>) -> Self {
        Self { streams: streams.clone(), clock }
    }

    /// Returns the time of the clock that dates events.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Publishes an event. A failure is only logged, because the run's record is the source of
    /// truth.
    pub(crate) async fn publish_best_effort(&self, job: &JobId, stage: &str, detail: Value) {
        if let Err(error) = self.publish(job, stage, detail).await {
            tracing::warn!(%job, stage, error = crate::failure::chain(&error), "an event was not published");
        }
    }

    /// Publishes an event and waits until it is stored. `stage` becomes one token of the subject,
    /// so all characters except lowercase letters, digits, `-` and `_` are replaced. Fields of the
    /// detail that would make the event too large are left out.
    ///
    /// # Errors
    /// [`BrokerError::Publish`], [`BrokerError::Encode`].
    pub async fn publish(&self, job: &JobId, stage: &str, mut detail: Value) -> Result<(), BrokerError> {
        fit_detail(&mut detail, MAX_DETAIL);
        let stage = subject_token(stage);
        let names = self.streams.names();
        let subject = names.event_subject(job, &stage);
        let event = Event { job: job.clone(), stage, at: self.clock.now(), detail };
        let body = serde_json::to_vec(&event)?;
        let failed = |source| BrokerError::Publish { stream: names.training_events().clone(), source };
        let context = self.streams.context();
        context.publish(subject, body.into()).await.map_err(failed)?.await.map_err(failed)?;
        Ok(())
    }
}
