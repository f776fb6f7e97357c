//! Streams and buckets: the settings each must have, creation, and the check by reading back.
//!
//! | name | subjects or keys | kept |
//! |---|---|---|
//! | `CORRECTIONS` | `corrections.<domain>` | forever: the training data |
//! | `QUARANTINE` | `quarantine.<reason>` | forever: rows that are not trained on |
//! | `TRAINING` | `training.jobs` | until acknowledged (work queue) |
//! | `TRAINING_EVENTS` | `training.events.<job>.<stage>`, `training.cancel` | until aged or full |
//! | `training_runs` | job id | the run records |
//! | `trainer_state` | `trigger`, `cancel.<job>` and others | state that must survive a restart |
//!
//! The bucket `training_checkpoints` exists only when it is used: see
//! [`checkpoints`](super::checkpoints).

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{DiscardPolicy, RetentionPolicy, Stream};
use async_nats::jetstream::{self, kv};
use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::clock::{BrokerClock, Clock};
use super::connection::Connection;
use super::error::BrokerError;
use super::event_stage::{QUEUED, SETTLED};
use super::records::Records;
use super::set_up::{Wanted, ensure_bucket, ensure_stream, existing_bucket, existing_stream};

/// Name of the stream of trainable rows.
pub const CORRECTIONS: &str = "CORRECTIONS";
/// Name of the stream of refused rows.
pub const QUARANTINE: &str = "QUARANTINE";
/// Name of the stream of job requests.
pub const TRAINING: &str = "TRAINING";
/// Subject that job requests are published on.
pub const JOBS_SUBJECT: &str = "training.jobs";
/// Name of the stream of progress and outcomes.
pub const TRAINING_EVENTS: &str = "TRAINING_EVENTS";
/// Subject of requests to cancel a run; the body is the run's id. The events' stream stores these
/// requests, so that the next worker finds one that was made while no worker was running.
pub const CANCEL_SUBJECT: &str = "training.cancel";
/// Name of the bucket of run records.
pub const TRAINING_RUNS: &str = "training_runs";
/// Name of the bucket of state that must survive a restart.
pub const TRAINER_STATE: &str = "trainer_state";

/// Settings that may differ between installations.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// Number of copies of every stream and bucket in a cluster: 1, 3 or 5.
    pub replicas: usize,
    /// Time during which the broker itself refuses a message id that it has seen. The dedup ledger
    /// refuses it forever; this window covers two workers that publish at the same moment.
    pub duplicate_window: Duration,
    /// Age at which events are dropped.
    pub events_max_age: Duration,
    /// Largest total size of the stored events, in bytes.
    pub events_max_bytes: i64,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            replicas: 1,
            duplicate_window: Duration::from_secs(10 * 60),
            events_max_age: Duration::from_secs(90 * 24 * 3600),
            events_max_bytes: 256 * 1024 * 1024,
        }
    }
}

/// Time during which a job id is refused again. A week outlives any restart between a trigger's
/// intent and its job.
const JOB_DUPLICATE_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
/// Duplicate window of events. It is short because events carry no id worth remembering for long.
const EVENT_DUPLICATE_WINDOW: Duration = Duration::from_secs(2 * 60);
/// Number of revisions of a run record that the bucket keeps.
const RUN_HISTORY: i64 = 16;

/// The checked streams and buckets, with their connection. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Streams {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    connection: Connection,
    corrections: Stream,
    quarantine: Stream,
    training: Stream,
    events: Stream,
    runs: kv::Store,
    state: kv::Store,
    clock: BrokerClock,
}

impl Streams {
    /// Creates missing streams and buckets, changes those that differ, and reads everything back: a
    /// server ignores fields that it doesn't know, so only reading back proves that the settings
    /// are in force. Other settings of an existing stream (placement, compression) belong to the
    /// operator and are left as they are.
    ///
    /// # Errors
    /// [`BrokerError::SetUp`], [`BrokerError::Mismatch`], [`BrokerError::Request`].
    pub async fn ensure(connection: &Connection, settings: &StreamSettings) -> Result<Self, BrokerError> {
        // Boxed: setting up is rare and its future is large.
        Box::pin(Self::set_up(connection, settings)).await
    }

    /// Opens the streams and buckets as a worker has set them up. Changes nothing, so that a command
    /// with other settings than the worker's can't change the worker's streams.
    ///
    /// # Errors
    /// [`BrokerError::NotSetUp`], [`BrokerError::Request`].
    pub async fn existing(connection: &Connection) -> Result<Self, BrokerError> {
        let context = connection.jetstream();
        let (corrections, quarantine, training, events, runs, state) = Box::pin(async {
            tokio::try_join!(
                existing_stream(context, CORRECTIONS),
                existing_stream(context, QUARANTINE),
                existing_stream(context, TRAINING),
                existing_stream(context, TRAINING_EVENTS),
                existing_bucket(context, TRAINING_RUNS),
                existing_bucket(context, TRAINER_STATE),
            )
        })
        .await?;
        let connection = connection.clone();
        let clock = BrokerClock::new(context, &corrections.cached_info().config.name);
        clock.refresh().await?;
        Ok(Self {
            parts: Arc::new(Parts {
                connection,
                corrections,
                quarantine,
                training,
                events,
                runs,
                state,
                clock,
            }),
        })
    }

    async fn set_up(connection: &Connection, settings: &StreamSettings) -> Result<Self, BrokerError> {
        let context = connection.jetstream();
        let kept = |name, subject: &'static str| Wanted {
            name,
            subjects: vec![subject],
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            max_age: Duration::ZERO,
            max_bytes: -1,
            duplicate_window: settings.duplicate_window,
            replicas: settings.replicas,
        };
        let corrections = ensure_stream(context, kept(CORRECTIONS, "corrections.>")).await?;
        let quarantine = ensure_stream(context, kept(QUARANTINE, "quarantine.>")).await?;
        let jobs = Wanted {
            retention: RetentionPolicy::WorkQueue,
            duplicate_window: JOB_DUPLICATE_WINDOW,
            ..kept(TRAINING, JOBS_SUBJECT)
        };
        let training = ensure_stream(context, jobs).await?;
        let events = Wanted {
            subjects: vec!["training.events.>", CANCEL_SUBJECT],
            discard: DiscardPolicy::Old,
            max_age: settings.events_max_age,
            max_bytes: settings.events_max_bytes,
            duplicate_window: EVENT_DUPLICATE_WINDOW.min(settings.events_max_age),
            ..kept(TRAINING_EVENTS, "training.events.>")
        };
        let events = ensure_stream(context, events).await?;
        let runs = ensure_bucket(context, TRAINING_RUNS, RUN_HISTORY, settings.replicas).await?;
        let state = ensure_bucket(context, TRAINER_STATE, 1, settings.replicas).await?;
        let connection = connection.clone();
        let clock = BrokerClock::new(context, &corrections.cached_info().config.name);
        clock.refresh().await?;
        Ok(Self {
            parts: Arc::new(Parts {
                connection,
                corrections,
                quarantine,
                training,
                events,
                runs,
                state,
                clock,
            }),
        })
    }

    /// Returns the connection that the streams use.
    pub fn connection(&self) -> &Connection {
        &self.parts.connection
    }

    /// Returns the broker's clock.
    pub fn clock(&self) -> &BrokerClock {
        &self.parts.clock
    }

    pub(crate) fn context(&self) -> &jetstream::Context {
        self.parts.connection.jetstream()
    }

    pub(crate) fn corrections(&self) -> &Stream {
        &self.parts.corrections
    }

    pub(crate) fn quarantine(&self) -> &Stream {
        &self.parts.quarantine
    }

    pub(super) fn training(&self) -> &Stream {
        &self.parts.training
    }

    pub(super) fn events(&self) -> &Stream {
        &self.parts.events
    }

    pub(super) fn runs<T: Serialize + DeserializeOwned>(&self) -> Records<T> {
        Records::new(TRAINING_RUNS, self.parts.runs.clone())
    }

    /// Returns the bucket of state that must survive a restart, for records of one type.
    pub(crate) fn state<T: Serialize + DeserializeOwned>(&self) -> Records<T> {
        Records::new(TRAINER_STATE, self.parts.state.clone())
    }

    /// Returns a stream that yields once for every settled job. A notice that is lost with a
    /// connection is not repeated.
    pub(crate) async fn settlements(
        &self,
    ) -> Result<impl futures::Stream<Item = ()> + Send + use<>, BrokerError> {
        self.events_of(SETTLED).await
    }

    /// Returns a stream that yields once for every job that begins to wait, and for every settled
    /// job. A notice that is lost with a connection is not repeated.
    pub(crate) async fn queue_changes(
        &self,
    ) -> Result<impl futures::Stream<Item = ()> + Send + use<>, BrokerError> {
        let (queued, settled) = (self.events_of(QUEUED).await?, self.events_of(SETTLED).await?);
        Ok(futures::stream::select(queued, settled))
    }

    async fn events_of(
        &self,
        stage: &str,
    ) -> Result<impl futures::Stream<Item = ()> + Send + use<>, BrokerError> {
        let subscription =
            self.parts.connection.client().subscribe(format!("training.events.*.{stage}")).await;
        Ok(subscription.map_err(BrokerError::request("watching the events of jobs"))?.map(drop))
    }
}
