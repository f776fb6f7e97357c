//! A person's control over a run: cancel and retry.
//!
//! Both requests survive a crash of the process that handles them. A cancel request is stored next
//! to the run until a worker finds it. A retry is a new message on the queue, under an id that the
//! broker stores only once; the run record is updated after the message.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message::PublishMessage;
use futures::StreamExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::error::BrokerError;
use super::event_stage::{ENDED, QUEUED, SETTLED};
use super::job_id::JobId;
use super::jobs::{Jobs, RETRY_HEADER};
use super::run_state::RunState;
use super::watching::keep_watching;

/// Name of the durable consumer of cancel requests that all workers share.
const CONSUMER: &str = "cancellations";
/// Time that one pull waits for a message.
const PULL_EXPIRES: Duration = Duration::from_secs(5);

impl Jobs {
    /// Cancels a run and returns the state it was in. A queued run has ended when this returns. A
    /// running one ends soon, or is not cancelled at all when its model is already being published. A
    /// queued one that may have published counts as running: a trainer looks first.
    ///
    /// # Errors
    /// [`BrokerError::UnknownRun`], [`BrokerError::RunEnded`], [`BrokerError::Request`].
    pub async fn cancel(&self, id: &JobId) -> Result<RunState, BrokerError> {
        loop {
            let Some((mut record, revision)) = self.runs.load(id).await? else {
                return Err(BrokerError::UnknownRun { id: id.clone() });
            };
            match record.state {
                RunState::Queued if !record.may_be_published() => {
                    record.state = RunState::Cancelled;
                    record.ended_at = Some(self.events.now());
                    match self.runs.save(&record, revision).await {
                        Ok(_) => {}
                        // A worker has just taken up the run: read the record again.
                        Err(BrokerError::Conflict { .. }) => continue,
                        Err(error) => return Err(error),
                    }
                    tracing::info!(job = %id, "cancelled a queued job");
                    self.events.publish_best_effort(id, ENDED, json!({ "state": record.state })).await;
                    // A trainer would settle the message, but none need be started for that. After a
                    // crash here, the next one to be up does.
                    if self.remove_waiting(id, record.retries).await? {
                        let detail = json!({ "outcome": "cancelled" });
                        self.events.publish_best_effort(id, SETTLED, detail).await;
                    }
                    return Ok(RunState::Queued);
                }
                RunState::Queued | RunState::Running => {
                    self.runs.request_cancel(id, record.retries).await?;
                    tracing::info!(job = %id, "cancel requested for a running job");
                    return Ok(RunState::Running);
                }
                state => return Err(BrokerError::RunEnded { id: id.clone(), state }),
            }
        }
    }

    /// Puts a run back onto the queue: a failed or cancelled one, or one that a rollback kept from
    /// being published. The run resumes from its recorded progress.
    ///
    /// # Errors
    /// [`BrokerError::UnknownRun`], [`BrokerError::RunNotEnded`]; [`BrokerError::RunEnded`] for any
    /// other run that has ended; [`BrokerError::Publish`], [`BrokerError::Request`].
    pub async fn retry(&self, id: &JobId) -> Result<(), BrokerError> {
        let Some((record, _)) = self.runs.load(id).await? else {
            return Err(BrokerError::UnknownRun { id: id.clone() });
        };
        let (id, state) = (id.clone(), record.state);
        match state {
            RunState::Failed | RunState::Cancelled => {}
            // Refused because of a rollback, not because of the model.
            RunState::Refused if record.error.is_some() => {}
            RunState::Queued | RunState::Running => return Err(BrokerError::RunNotEnded { id, state }),
            RunState::Done | RunState::Refused => return Err(BrokerError::RunEnded { id, state }),
        }
        let retry = record.retries + 1;
        let mut request = record.request;
        request.job_id = Some(id.clone());
        // The message goes first: a record that says "queued" without a message would wait forever.
        let message = PublishMessage::build()
            .payload(serde_json::to_vec(&request)?.into())
            .message_id(format!("{id}.retry-{retry}"))
            .header(RETRY_HEADER, retry.to_string());
        self.store(message).await?;
        self.reopen(&id, retry).await
    }

    /// Updates the record of an ended run for a retry that is on the queue. Safe to repeat.
    pub(super) async fn reopen(&self, id: &JobId, retry: u64) -> Result<(), BrokerError> {
        loop {
            let Some((mut record, revision)) = self.runs.load(id).await? else { return Ok(()) };
            if record.retries >= retry {
                return Ok(());
            }
            record.state = RunState::Queued;
            record.retries = retry;
            record.failures = 0;
            record.error = None;
            record.ended_at = None;
            match self.runs.save(&record, revision).await {
                Ok(_) => {
                    self.events.publish_best_effort(id, QUEUED, json!({ "retry": retry })).await;
                    return Ok(());
                }
                Err(BrokerError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Handles the published cancel requests, until cancelled itself.
    pub async fn keep_cancelling(&self, cancel: &CancellationToken) {
        let trouble = "can't read cancel requests";
        let serve = || async {
            loop {
                self.serve_cancellation().await?;
            }
        };
        keep_watching(self.streams.connection(), cancel, trouble, serve).await;
    }

    /// Pulls once. A message is acknowledged when its cancel request has been stored or carried
    /// out.
    async fn serve_cancellation(&self) -> Result<(), BrokerError> {
        const WHAT: &str = "reading cancellations";
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            filter_subject: self.streams.names().cancel_subject().to_owned(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ..pull::Config::default()
        };
        let events = self.streams.events();
        let consumer: PullConsumer =
            events.create_consumer(config).await.map_err(BrokerError::request(WHAT))?;
        let batch = consumer.batch().max_messages(1).expires(PULL_EXPIRES).messages().await;
        let Some(message) = batch.map_err(BrokerError::request(WHAT))?.next().await else {
            return Ok(());
        };
        let message = message.map_err(BrokerError::request(WHAT))?;
        let id =
            std::str::from_utf8(&message.payload).ok().and_then(|text| text.trim().parse::<JobId>().ok());
        match id {
            None => tracing::warn!("a cancel request names no run"),
            Some(id) => match self.cancel_stored(&id).await {
                Ok(_) => {}
                Err(error @ (BrokerError::UnknownRun { .. } | BrokerError::RunEnded { .. })) => {
                    tracing::warn!(%error, "nothing to cancel");
                }
                Err(error) => return Err(error),
            },
        }
        message.ack().await.map_err(BrokerError::request(WHAT))
    }

    /// Cancels a run that may have no record yet, because another client has just requested it.
    async fn cancel_stored(&self, id: &JobId) -> Result<RunState, BrokerError> {
        match self.cancel(id).await {
            Err(BrokerError::UnknownRun { .. }) => {
                self.register_waiting().await?;
                self.cancel(id).await
            }
            done => done,
        }
    }
}
