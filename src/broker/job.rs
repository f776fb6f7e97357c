//! A delivered job: kept alive while a worker runs it, then settled.

use std::time::Duration;

use async_nats::{Client, Subject};
use bytes::Bytes;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use super::connection::REQUEST_DEADLINE;
use super::error::BrokerError;
use super::event_stage::SETTLED;
use super::events::Events;
use super::job_id::JobId;
use super::request::JobRequest;
use crate::text::plain_line;
use crate::trace_context::TraceContext;

/// Number of times an acknowledgement is sent before it is given up; the broker ignores repeats.
const ACKNOWLEDGE_ATTEMPTS: u32 = 3;

/// A request to train that only this worker holds while this value lives. A background task sends
/// the broker progress acknowledgements. When the value is dropped unsettled, as in a crash, the
/// broker delivers the job again after the acknowledgement wait.
#[derive(Debug)]
pub struct Job {
    id: JobId,
    request: JobRequest,
    deliveries: u64,
    retry: u64,
    delivery: Delivery,
    progress: AbortOnDropHandle<()>,
    trace: Option<TraceContext>,
}

impl Job {
    pub(super) fn new(
        id: JobId,
        request: JobRequest,
        deliveries: u64,
        retry: u64,
        delivery: Delivery,
        ack_wait: Duration,
    ) -> Self {
        let progress = AbortOnDropHandle::new(tokio::spawn(delivery.clone().keep_alive(ack_wait / 3)));
        Self { id, request, deliveries, retry, delivery, progress, trace: None }
    }

    /// Returns the job with the trace that its message is part of.
    pub(super) fn in_trace(self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self }
    }

    /// Returns the run's id, which is the same at every delivery.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Returns the request.
    pub fn request(&self) -> &JobRequest {
        &self.request
    }

    /// Returns the number of deliveries of the job, this one included: more than 1
    /// after a crash or a hand-back.
    pub fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// Returns the number of this retry of the run; 0 for the original request.
    pub fn retry(&self) -> u64 {
        self.retry
    }

    /// Returns the context of the trace that the request is part of, which is the same at every delivery.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// Acknowledges the job as done, whatever its outcome: the broker won't deliver it again. Call
    /// this when the outcome is durable.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`]: the job may be delivered again.
    pub async fn complete(self) -> Result<(), BrokerError> {
        self.settle(Bytes::from_static(b"+ACK"), "completed").await
    }

    /// Returns a job that can't be done now to the queue: the broker delivers it again after
    /// `delay`.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`]: the job is delivered again after the
    /// acknowledgement wait.
    pub async fn hand_back(self, delay: Duration) -> Result<(), BrokerError> {
        self.settle(hand_back(delay), "handed-back").await
    }

    /// Gives up a job that can never be done: the broker won't deliver it again, and its advisory
    /// carries the reason.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`]: the job may be delivered again.
    pub async fn give_up(self, reason: &str) -> Result<(), BrokerError> {
        self.settle(format!("+TERM {}", plain_line(reason, 200)).into(), "given-up").await
    }

    async fn settle(self, word: Bytes, outcome: &str) -> Result<(), BrokerError> {
        // A progress acknowledgement after a hand-back would undo its delay, so the task must end
        // first.
        self.progress.abort();
        let _ = self.progress.await;
        self.delivery.acknowledge(word).await?;
        tracing::info!(job = %self.id, outcome, "job settled");
        self.delivery.tell_settled(&self.id, outcome).await;
        Ok(())
    }
}

/// Returns the acknowledgement with which the broker delivers a message again after `delay`.
pub(super) fn hand_back(delay: Duration) -> Bytes {
    format!("-NAK {{\"delay\":{}}}", delay.as_nanos()).into()
}

/// One delivery of a message, with the means to acknowledge it.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) client: Client,
    pub(super) reply: Subject,
    pub(super) events: Events,
}

impl Delivery {
    /// Sends an acknowledgement and waits until the broker has confirmed it.
    pub(super) async fn acknowledge(&self, body: Bytes) -> Result<(), BrokerError> {
        let mut attempt = 1;
        loop {
            // Boxed: the client's request is a large future.
            let request = Box::pin(self.client.request(self.reply.clone(), body.clone()));
            let answer = tokio::time::timeout(REQUEST_DEADLINE, request).await;
            let error = match answer {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => BrokerError::Request { what: "acknowledging a job", source: error.into() },
                Err(_) => BrokerError::TimedOut { what: "acknowledging a job" },
            };
            if attempt == ACKNOWLEDGE_ATTEMPTS {
                return Err(error);
            }
            tracing::warn!(attempt, error = crate::failure::chain(&error), "repeating an acknowledgement");
            attempt += 1;
        }
    }

    /// Publishes that the job is settled, which wakes the trigger. When this event gets lost, the
    /// trigger's next periodic look finds the job settled.
    pub(super) async fn tell_settled(&self, job: &JobId, outcome: &str) {
        self.events.publish_best_effort(job, SETTLED, json!({ "outcome": outcome })).await;
    }

    /// Sends a progress acknowledgement every `period`. The first one goes out at once, because the
    /// job may have waited in a buffer for a while.
    async fn keep_alive(self, period: Duration) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // The client buffers this message while the connection is lost. When that lasts
            // longer than the acknowledgement wait, the broker delivers the job to another
            // worker, which is correct.
            if let Err(error) = self.client.publish(self.reply.clone(), Bytes::from_static(b"+WPI")).await {
                tracing::warn!(%error, "a progress acknowledgement was not sent");
            }
        }
    }
}
