//! Queue of job requests: any client can add a request, and one worker at a time takes it.
//!
//! Every stored request has a run record. [`Jobs::enqueue`] writes the record at once,
//! [`Jobs::next`] makes sure that it exists, and [`waiting`](super::waiting) writes the records of
//! requests that other clients added.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{ConsumerInfoError, ConsumerInfoErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::error::BrokerError;
use super::event_stage::REFUSED;
use super::events::Events;
use super::job::{Delivery, Job, hand_back};
use super::job_id::JobId;
use super::names::Name;
use super::request::JobRequest;
use super::request_ids::RequestIds;
use super::runs::Runs;
use super::set_up::require;
use super::streams::{Streams, stream_info};
use crate::retry::Backoff;
use crate::trace_context::{TRACE_HEADER, TraceContext};

/// Name of the durable consumer that all workers share.
const CONSUMER: &str = "trainer";
/// Time that one pull waits for a message.
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// Backoff while the broker fails.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
/// Header of a request that retries a run; its value is the number of the retry.
pub(super) const RETRY_HEADER: &str = "Training-Retry";
/// Time until a request is delivered again when its refusal could not be published.
const REFUSAL_RETRY: Duration = Duration::from_secs(1);

/// Settings that may differ between installations.
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// Time after a worker's last progress acknowledgement until its job is delivered again. The
    /// worker sends one every third of this time.
    pub ack_wait: Duration,
    /// True when the operator has set this time. Otherwise a consumer that waits longer keeps its
    /// time.
    pub ack_wait_is_set: bool,
    /// Number of jobs that may run at the same time, over all workers.
    pub runs_at_once: i64,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self { ack_wait: Duration::from_secs(60), ack_wait_is_set: false, runs_at_once: 1 }
    }
}

/// Handle of the queue of job requests.
#[derive(Debug, Clone)]
pub struct Jobs {
    pub(super) streams: Streams,
    pub(super) events: Events,
    pub(super) runs: Runs,
    settings: Arc<JobSettings>,
}

impl Jobs {
    /// Creates the shared consumer, or gives it these settings, and reads it back. A consumer that
    /// waits longer for acknowledgements keeps its time, unless the operator has set another.
    ///
    /// # Errors
    /// [`BrokerError::SetUp`], [`BrokerError::Mismatch`].
    pub async fn open(
        streams: &Streams,
        events: &Events,
        settings: JobSettings,
    ) -> Result<Self, BrokerError> {
        let jobs = Self::new(streams, events, settings);
        jobs.ensure_consumer().await?;
        Ok(jobs)
    }

    /// Returns a handle that leaves the consumer as it is. A worker that takes a job creates it.
    pub fn new(streams: &Streams, events: &Events, settings: JobSettings) -> Self {
        let (streams, events) = (streams.clone(), events.clone());
        Self { runs: Runs::new(&streams), streams, events, settings: Arc::new(settings) }
    }

    /// Adds a request and returns its run's id. A request with a job id is stored only once,
    /// however often it is added.
    ///
    /// # Errors
    /// [`BrokerError::Publish`], [`BrokerError::Encode`], [`BrokerError::Request`].
    pub async fn enqueue(&self, request: &JobRequest) -> Result<JobId, BrokerError> {
        // The run goes on in this trace.
        Box::pin(self.enqueue_in_trace(request)).instrument(tracing::info_span!("request a run")).await
    }

    async fn enqueue_in_trace(&self, request: &JobRequest) -> Result<JobId, BrokerError> {
        let mut message = PublishMessage::build().payload(serde_json::to_vec(request)?.into());
        if let Some(id) = &request.job_id {
            message = message.message_id(id.as_str());
        }
        if let Some(context) = TraceContext::current() {
            message = message.header(TRACE_HEADER, context.as_str());
        }
        // Asked for first: once the request is stored, nothing may fail.
        let mut ids = RequestIds::new(&self.streams);
        ids.prepare(request).await?;
        let ack = self.store(message).await?;
        let id = ids.id(request, ack.sequence).await?;
        tracing::info!(job = %id, duplicate = ack.duplicate, "job enqueued");
        // The request is stored, so a missing record must not fail it. The worker that takes
        // the job writes the record.
        if let Err(error) = self.register(&id, request).await {
            tracing::warn!(job = %id, error = crate::failure::chain(&error), "a queued run has no record yet");
        }
        Ok(id)
    }

    /// Publishes a message to the queue and waits until it is stored.
    pub(super) async fn store(&self, message: PublishMessage) -> Result<PublishAck, BrokerError> {
        let names = self.streams.names();
        let failed = |source| BrokerError::Publish { stream: names.training().clone(), source };
        self.streams
            .context()
            .send_publish(names.jobs_subject().to_owned(), message)
            .await
            .map_err(failed)?
            .await
            .map_err(failed)
    }

    /// Returns the number of requests that wait or are in progress.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn outstanding(&self) -> Result<u64, BrokerError> {
        Ok(stream_info(self.streams.training()).await?.state.messages)
    }

    /// Returns the id of the first request that waits or is in progress, and its sequence on the
    /// stream. A request that can't be parsed counts as well: a trainer must take it to refuse it.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn first_outstanding(&self) -> Result<Option<(JobId, u64)>, BrokerError> {
        let Some(message) = self.stored_request(1).await? else { return Ok(None) };
        let mut ids = RequestIds::new(&self.streams);
        let id = match JobRequest::parse(&message.payload) {
            Ok(request) => ids.id(&request, message.sequence).await?,
            Err(_) => ids.at(message.sequence).await?,
        };
        Ok(Some((id, message.sequence)))
    }

    /// Reads the first request on the queue from the stream sequence `from` on, without taking it.
    pub(super) async fn stored_request(&self, from: u64) -> Result<Option<StreamMessage>, BrokerError> {
        let subject = self.streams.names().jobs_subject();
        match self.streams.training().direct_get_next_for_subject(subject, Some(from)).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(BrokerError::request("reading the queue")(error)),
        }
    }

    /// Returns the number of requests that a worker holds or that wait between two attempts. This
    /// is one small request, however many runs exist.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn in_hand(&self) -> Result<u64, BrokerError> {
        match self.streams.training().consumer_info(CONSUMER).await {
            Ok(info) => Ok(u64::try_from(info.num_ack_pending).unwrap_or_default()),
            // The consumer was removed; the worker that takes the next job creates it again.
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(0),
            Err(error) => Err(BrokerError::request("asking for the jobs in hand")(error)),
        }
    }

    /// Waits for the next job and returns it, or returns `None` once cancelled. Errors of the
    /// broker are logged and retried with backoff. An invalid body is refused with an event
    /// and not delivered again.
    pub async fn next(&self, cancel: &CancellationToken) -> Option<Job> {
        let mut failures = BACKOFF.start();
        let mut connects = self.streams.connection().connects();
        loop {
            let taken = tokio::select! {
                () = cancel.cancelled() => return None,
                // A pull is lost with its connection.
                Ok(()) = connects.changed() => continue,
                taken = self.take() => taken,
            };
            match taken {
                Ok(Some(job)) => return Some(job),
                Ok(None) => failures.reset(),
                Err(error) => {
                    let pause = failures.next_pause(rand::random());
                    tracing::warn!(error = crate::failure::chain(&error), again_in = ?pause, "no job could be taken");
                    tokio::select! {
                        () = cancel.cancelled() => return None,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Pulls once. Returns a job, or `None` when none arrived in time.
    async fn take(&self) -> Result<Option<Job>, BrokerError> {
        const WHAT: &str = "taking a job";
        let consumer = self.consumer().await?;
        let mut batch = consumer
            .batch()
            .max_messages(1)
            .expires(PULL_EXPIRES)
            .messages()
            .await
            .map_err(BrokerError::request(WHAT))?;
        match batch.next().await {
            Some(message) => {
                let ack_wait = consumer.cached_info().config.ack_wait;
                self.accept(message.map_err(BrokerError::request(WHAT))?, ack_wait).await
            }
            None => Ok(None),
        }
    }

    /// Turns a message into a job, or refuses it permanently.
    async fn accept(&self, message: Message, ack_wait: Duration) -> Result<Option<Job>, BrokerError> {
        let (sequence, deliveries) = match message.info() {
            Ok(info) => (info.stream_sequence, u64::try_from(info.delivered).unwrap_or_default()),
            Err(source) => return Err(BrokerError::Request { what: "taking a job", source }),
        };
        let Some(reply) = message.reply.clone() else { return Ok(None) };
        let client = self.streams.connection().client().clone();
        let delivery = Delivery { client, reply, events: self.events.clone() };
        let mut ids = RequestIds::new(&self.streams);
        let refusal = match JobRequest::parse(&message.payload) {
            Ok(request) => {
                let id = ids.id(&request, sequence).await?;
                let retry = message.headers.as_ref().map_or(0, retry_of);
                tracing::info!(job = %id, deliveries, retry, "job taken");
                let trace = message.headers.as_ref().and_then(|headers| headers.get(TRACE_HEADER));
                let trace = trace.and_then(|trace| TraceContext::received(trace.as_str()));
                let job = Job::new(id, request, deliveries, retry, delivery, ack_wait).in_trace(trace);
                // A failure drops the job, so the broker delivers it again.
                self.register(job.id(), job.request()).await?;
                if retry > 0 {
                    self.reopen(job.id(), retry).await?;
                }
                return Ok(Some(job));
            }
            Err(refusal) => refusal,
        };
        let id = ids.at(sequence).await?;
        tracing::warn!(job = %id, %refusal, "job request refused");
        let detail = json!({ "field": refusal.field(), "problem": refusal.to_string() });
        // The sender must be able to learn of the refusal, so the request is acknowledged only
        // after the event is stored.
        if let Err(error) = self.events.publish(&id, REFUSED, detail).await {
            delivery.acknowledge(hand_back(REFUSAL_RETRY)).await?;
            return Err(error);
        }
        delivery.acknowledge(Bytes::from_static(b"+ACK")).await?;
        delivery.tell_settled(&id, "refused").await;
        Ok(None)
    }

    /// Returns the shared consumer as it is, and creates it again when it was removed. Its settings
    /// are a matter of the start: two workers that disagree must not change them in turns.
    async fn consumer(&self) -> Result<PullConsumer, BrokerError> {
        match self.find_consumer().await? {
            Some(consumer) => Ok(consumer),
            None => self.ensure_consumer().await,
        }
    }

    async fn find_consumer(&self) -> Result<Option<PullConsumer>, BrokerError> {
        match self.streams.training().get_consumer(CONSUMER).await {
            Ok(consumer) => Ok(Some(consumer)),
            Err(error) => match error.downcast_ref::<ConsumerInfoError>().map(ConsumerInfoError::kind) {
                Some(ConsumerInfoErrorKind::NotFound) => Ok(None),
                _ => Err(BrokerError::request("opening the consumer of jobs")(error)),
            },
        }
    }

    /// Creates the shared consumer, or changes the settings that differ, and reads it back.
    async fn ensure_consumer(&self) -> Result<PullConsumer, BrokerError> {
        let name = Name::from(format!("consumer {CONSUMER} of {}", self.streams.names().training()));
        let JobSettings { ack_wait, ack_wait_is_set, runs_at_once } = *self.settings;
        let found = self.find_consumer().await?;
        let has = found.as_ref().map(|consumer| consumer.cached_info().config.ack_wait);
        let ack_wait = match has {
            Some(longer) if longer > ack_wait && !ack_wait_is_set => {
                tracing::warn!(
                    has = ?longer,
                    wanted = ?ack_wait,
                    decided_by = "TRAIN_ACK_WAIT",
                    "the wait for acknowledgements is longer than this worker's and stays; set it explicitly to shorten it"
                );
                longer
            }
            Some(_) | None => ack_wait,
        };
        let base = found.as_ref().map(|consumer| consumer.cached_info().config.clone());
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            max_ack_pending: runs_at_once,
            // The worker gives up a job that always fails, and can say why; the broker can't.
            max_deliver: -1,
            num_replicas: self.streams.replicas(),
            ..pull::Config::default()
        };
        let differs = base.as_ref().is_none_or(|found| {
            let settings = (found.ack_wait, found.max_ack_pending, found.max_deliver);
            // 0 stands for as many copies as the stream has.
            let copies_differ = ![0, self.streams.replicas()].contains(&found.num_replicas);
            settings != (ack_wait, runs_at_once, -1) || copies_differ
        });
        if let (Some(consumer), false) = (found, differs) {
            return Ok(consumer);
        }
        if let Some(found) = &base {
            tracing::info!(
                from = ?found.ack_wait,
                to = ?ack_wait,
                decided_by = "TRAIN_ACK_WAIT",
                "changing the consumer of jobs"
            );
        }
        let answered: PullConsumer = self
            .streams
            .training()
            .create_consumer(config)
            .await
            .map_err(|error| BrokerError::SetUp { name: name.clone(), source: error.into() })?;
        // The first answer about a consumer that a restarted server has found on its disk is the state in
        // which it found it, also when the answer is one to a change.
        let consumer = self.find_consumer().await?.unwrap_or(answered);
        if base.is_some() {
            tracing::info!(ack_wait = ?ack_wait, "changed the consumer of jobs");
        }
        let found = &consumer.cached_info().config;
        require(
            &name,
            [
                (found.ack_policy == AckPolicy::Explicit, "ack policy"),
                (found.ack_wait == ack_wait, "ack wait"),
                (found.max_ack_pending == runs_at_once, "max ack pending"),
            ],
        )?;
        Ok(consumer)
    }
}

/// Returns the number of the retry that a message asks for; 0 when it asks for none.
pub(super) fn retry_of(headers: &async_nats::HeaderMap) -> u64 {
    headers.get(RETRY_HEADER).and_then(|retry| retry.as_str().parse().ok()).unwrap_or_default()
}
