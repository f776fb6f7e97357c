//! A job in hand: kept alive while it is worked on, then settled one way or another.

use std::time::Duration;

use async_nats::{Client, Subject};
use bytes::Bytes;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use super::connection::REQUEST_DEADLINE;
use super::error::QueueError;
use super::event_stage::SETTLED;
use super::events::Events;
use super::job_id::JobId;
use super::request::JobRequest;

/// How often an acknowledgement is sent before it is given up; the broker ignores repeats.
const ACKNOWLEDGE_ATTEMPTS: u32 = 3;

/// A request to train that this worker alone holds, for as long as this value lives: a task of its own tells
/// the broker that work goes on. Dropped unsettled (a crash does the same), it is delivered again after the
/// acknowledgement wait.
#[derive(Debug)]
pub struct Job {
    id: JobId,
    request: JobRequest,
    deliveries: u64,
    retry: u64,
    delivery: Delivery,
    progress: AbortOnDropHandle<()>,
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
        Self { id, request, deliveries, retry, delivery, progress }
    }

    /// The run's id, the same at every delivery.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// What is asked for.
    pub fn request(&self) -> &JobRequest {
        &self.request
    }

    /// How often the job was delivered, this time included: more than 1 after a crash or a hand-back.
    pub fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// Which retry of its run this is; 0 for the first time it was asked for.
    pub fn retry(&self) -> u64 {
        self.retry
    }

    /// The job is done, with whatever outcome: it won't be delivered again. Call it when the outcome is durable.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::TimedOut`]: the job may be delivered again.
    pub async fn complete(self) -> Result<(), QueueError> {
        self.settle(Bytes::from_static(b"+ACK"), "completed").await
    }

    /// The job can't be done now: it is delivered again after `delay`.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::TimedOut`]: it is delivered again after the acknowledgement wait.
    pub async fn hand_back(self, delay: Duration) -> Result<(), QueueError> {
        let body = format!("-NAK {{\"delay\":{}}}", delay.as_nanos());
        self.settle(body.into(), "handed-back").await
    }

    /// The job can never be done: it won't be delivered again, and the broker's advisory says why.
    ///
    /// # Errors
    /// [`QueueError::Request`], [`QueueError::TimedOut`]: the job may be delivered again.
    pub async fn give_up(self, reason: &str) -> Result<(), QueueError> {
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        self.settle(format!("+TERM {reason}").into(), "given-up").await
    }

    async fn settle(self, word: Bytes, outcome: &str) -> Result<(), QueueError> {
        // A sign of life after a hand-back would undo its delay, so the task must have ended before.
        self.progress.abort();
        let _ = self.progress.await;
        self.delivery.acknowledge(word).await?;
        tracing::info!(job = %self.id, outcome, "job settled");
        self.delivery.tell_settled(&self.id, outcome).await;
        Ok(())
    }
}

/// One delivery of a message, and how the broker is told about it.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) client: Client,
    pub(super) reply: Subject,
    pub(super) events: Events,
}

impl Delivery {
    /// Tells the broker and waits until it has confirmed.
    pub(super) async fn acknowledge(&self, body: Bytes) -> Result<(), QueueError> {
        let mut attempt = 1;
        loop {
            // Boxed: the client's request is a large future.
            let request = Box::pin(self.client.request(self.reply.clone(), body.clone()));
            let answer = tokio::time::timeout(REQUEST_DEADLINE, request).await;
            let error = match answer {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => QueueError::Request { what: "acknowledging a job", source: error.into() },
                Err(_) => QueueError::TimedOut { what: "acknowledging a job" },
            };
            if attempt == ACKNOWLEDGE_ATTEMPTS {
                return Err(error);
            }
            tracing::warn!(attempt, error = crate::failure::chain(&error), "an acknowledgement is repeated");
            attempt += 1;
        }
    }

    /// Wakes the trigger, which looks again by itself when this gets lost.
    pub(super) async fn tell_settled(&self, job: &JobId, outcome: &str) {
        self.events.tell(job, SETTLED, json!({ "outcome": outcome })).await;
    }

    /// Tells the broker every `period` that the job is worked on. The first word goes out at once: a job may
    /// have waited in a buffer for a while.
    async fn keep_alive(self, period: Duration) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // A lost connection buffers the word; when it is lost for longer than the wait, the job is
            // delivered to somebody else, which is right.
            if let Err(error) = self.client.publish(self.reply.clone(), Bytes::from_static(b"+WPI")).await {
                tracing::warn!(%error, "a progress acknowledgement was not sent");
            }
        }
    }
}
