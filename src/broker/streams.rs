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

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{self, ErrorCode, kv};

use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connection::Connection;
use super::error::BrokerError;
use super::event_stage::{QUEUED, SETTLED};
use super::records::Records;

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
        Ok(Self {
            parts: Arc::new(Parts { connection, corrections, quarantine, training, events, runs, state }),
        })
    }

    /// Returns the connection that the streams use.
    pub fn connection(&self) -> &Connection {
        &self.parts.connection
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

/// The settings of a stream that this program depends on.
struct Wanted {
    name: &'static str,
    subjects: Vec<&'static str>,
    retention: RetentionPolicy,
    discard: DiscardPolicy,
    max_age: Duration,
    max_bytes: i64,
    duplicate_window: Duration,
    replicas: usize,
}

impl Wanted {
    fn apply(&self, config: &mut stream::Config) {
        config.name = self.name.to_owned();
        config.subjects = self.subjects.iter().map(|subject| (*subject).to_owned()).collect();
        config.retention = self.retention;
        config.discard = self.discard;
        config.storage = StorageType::File;
        config.max_age = self.max_age;
        config.max_bytes = self.max_bytes;
        config.max_messages = -1;
        config.max_messages_per_subject = -1;
        config.duplicate_window = self.duplicate_window;
        config.num_replicas = self.replicas;
        config.allow_direct = true;
        config.no_ack = false;
    }

    /// Returns the first setting that is not as wanted.
    fn mismatch(&self, config: &stream::Config) -> Option<&'static str> {
        let checks = [
            (config.subjects == self.subjects, "subjects"),
            (config.retention == self.retention, "retention"),
            (config.discard == self.discard, "discard policy"),
            (config.storage == StorageType::File, "storage"),
            (config.max_age == self.max_age, "max age"),
            (config.max_bytes == self.max_bytes, "max bytes"),
            (config.max_messages == -1, "max messages"),
            (config.max_messages_per_subject == -1, "max messages per subject"),
            (config.duplicate_window == self.duplicate_window, "duplicate window"),
            (config.num_replicas == self.replicas, "replicas"),
            (config.allow_direct, "direct access"),
            (!config.no_ack, "acknowledgement"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, setting)| setting)
    }
}

async fn ensure_stream(context: &jetstream::Context, wanted: Wanted) -> Result<Stream, BrokerError> {
    let name = wanted.name;
    match context.get_stream(name).await {
        Ok(existing) => {
            let config = &existing.cached_info().config;
            if let Some(setting) = wanted.mismatch(config) {
                tracing::info!(stream = name, setting, "updating a stream's settings");
                let mut config = config.clone();
                wanted.apply(&mut config);
                context
                    .update_stream(config)
                    .await
                    .map_err(|error| BrokerError::SetUp { name, source: error.into() })?;
            }
        }
        Err(error) if is_not_found(&error.kind()) => {
            let mut config = stream::Config::default();
            wanted.apply(&mut config);
            context
                .create_stream(config)
                .await
                .map_err(|error| BrokerError::SetUp { name, source: error.into() })?;
        }
        Err(error) => return Err(BrokerError::request("reading a stream's configuration")(error)),
    }
    let stream = context.get_stream(name).await.map_err(BrokerError::request("reading a stream back"))?;
    match wanted.mismatch(&stream.cached_info().config) {
        None => Ok(stream),
        Some(setting) => Err(BrokerError::Mismatch { name, setting }),
    }
}

/// Returns true when the error says that the stream does not exist.
pub(super) fn is_not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

async fn ensure_bucket(
    context: &jetstream::Context,
    name: &'static str,
    history: i64,
    replicas: usize,
) -> Result<kv::Store, BrokerError> {
    let config = kv::Config {
        bucket: name.to_owned(),
        history,
        storage: StorageType::File,
        num_replicas: replicas,
        ..Default::default()
    };
    let store = context
        .create_or_update_key_value(config)
        .await
        .map_err(|error| BrokerError::SetUp { name, source: error.into() })?;
    let info = store.stream.get_info().await.map_err(BrokerError::request("reading a bucket back"))?;
    require(
        name,
        [
            (info.config.storage == StorageType::File, "storage"),
            (info.config.num_replicas == replicas, "replicas"),
            (info.config.max_messages_per_subject == history, "history"),
            (info.config.max_age.is_zero(), "max age"),
        ],
    )?;
    Ok(store)
}

/// Checks settings that were read back; each is a condition and the setting's name.
///
/// # Errors
/// [`BrokerError::Mismatch`] for the first setting whose condition is false.
pub(super) fn require<const N: usize>(
    name: &'static str,
    checks: [(bool, &'static str); N],
) -> Result<(), BrokerError> {
    match checks.into_iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, setting)) => Err(BrokerError::Mismatch { name, setting }),
    }
}
