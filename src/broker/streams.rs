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
//! [`checkpoints`](super::checkpoints). A namespace goes in front of every name: see
//! [`Names`]. Each stream carries an owner mark: see [`ownership`](super::ownership).

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, Stream};
use async_nats::jetstream::{self, kv};
use futures::StreamExt;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoints;
use super::clock::{BrokerClock, Clock, timestamp};
use super::connection::Connection;
use super::error::BrokerError;
use super::event_stage::{QUEUED, SETTLED};
use super::names::{Name, Names};
use super::ownership::{self, OwnerMark};
use super::project::Project;
use super::records::Records;
use super::set_up::{bucket, ensure_stream, judged, mark_stream};
use super::size_limits::{SizeLimit, SizeLimits};
use super::stream_config::{StreamUse, Wanted};

/// Returns what the server says of a stream now.
///
/// # Errors
/// [`BrokerError::Request`].
pub(crate) async fn stream_info(stream: &Stream) -> Result<stream::Info, BrokerError> {
    stream.get_info().await.map_err(BrokerError::request("asking for a stream's state"))
}

/// Settings that may differ between installations.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// Names of the streams and buckets.
    pub names: Names,
    /// Project whose pairs the streams hold; `None` on a machine that only trains and has none set.
    pub project: Option<Project>,
    /// True when streams of another project become this project's. For a project that has moved.
    pub takes_over: bool,
    /// Number of copies of every stream and bucket in a cluster: 1, 3 or 5.
    pub replicas: usize,
    /// True when the operator has set the number of copies. Otherwise streams with more keep them.
    pub replicas_are_set: bool,
    /// Largest total size of all streams and buckets but the checkpoints, in bytes, as far as the
    /// operator has set one.
    pub max_bytes: Option<u64>,
    /// Time during which the broker itself refuses a message id that it has seen. The dedup ledger
    /// refuses it forever; this window covers two workers that publish at the same moment.
    pub duplicate_window: Duration,
    /// Age at which events are dropped.
    pub events_max_age: Duration,
    /// Largest total size of the stored events, in bytes, when their stream is created.
    pub events_max_bytes: i64,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            names: Names::default(),
            project: None,
            takes_over: false,
            replicas: 1,
            replicas_are_set: false,
            max_bytes: None,
            duplicate_window: Duration::from_secs(10 * 60),
            events_max_age: Duration::from_secs(90 * 24 * 3600),
            events_max_bytes: 256 * 1024 * 1024,
        }
    }
}

impl StreamSettings {
    /// Returns the settings of the streams themselves, in the order of [`Parts`], and last those of the
    /// checkpoints.
    fn wanted(&self, sizes: &SizeLimits) -> [Wanted; 7] {
        let names = &self.names;
        let kept = |name: &Name, subject: String, size: SizeLimit| Wanted {
            name: name.clone(),
            subjects: vec![subject],
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            max_age: Duration::ZERO,
            size,
            per_subject: -1,
            duplicate_window: self.duplicate_window,
            replicas: self.replicas,
            replicas_are_set: self.replicas_are_set,
            usage: StreamUse::Messages,
        };
        let records = |bucket: &Name, history: i64, size: SizeLimit| Wanted {
            per_subject: history,
            duplicate_window: SHORT_DUPLICATE_WINDOW,
            usage: StreamUse::Records,
            ..kept(&Name::from(format!("KV_{bucket}")), format!("$KV.{bucket}.>"), size)
        };
        [
            kept(names.corrections(), names.correction_subjects(), sizes.corrections()),
            kept(names.quarantine(), names.quarantine_subjects(), sizes.quarantine()),
            Wanted {
                retention: RetentionPolicy::WorkQueue,
                duplicate_window: JOB_DUPLICATE_WINDOW,
                ..kept(names.training(), names.jobs_subject().to_owned(), sizes.training())
            },
            Wanted {
                subjects: vec![names.event_subjects(), names.cancel_subject().to_owned()],
                discard: DiscardPolicy::Old,
                max_age: self.events_max_age,
                duplicate_window: SHORT_DUPLICATE_WINDOW.min(self.events_max_age),
                ..kept(names.training_events(), String::new(), sizes.events())
            },
            records(names.training_runs(), RUN_HISTORY, sizes.runs()),
            records(names.trainer_state(), 1, sizes.state()),
            checkpoints::known(names),
        ]
    }

    /// Returns the same settings for a process that only opens streams: sizes don't matter to it.
    fn known(&self) -> [Wanted; 7] {
        self.wanted(&SizeLimits::unlimited(self.events_max_bytes))
    }

    fn mark(&self) -> OwnerMark {
        OwnerMark { project: self.project.clone(), takes_over: self.takes_over }
    }
}

/// Time during which a job id is refused again. A week outlives any restart between a trigger's
/// intent and its job.
const JOB_DUPLICATE_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
/// Duplicate window of events and records. It is short because they carry no id worth remembering
/// for long.
const SHORT_DUPLICATE_WINDOW: Duration = Duration::from_secs(2 * 60);
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
    names: Names,
    mark: OwnerMark,
    corrections: Stream,
    quarantine: Stream,
    training: Stream,
    events: Stream,
    runs: kv::Store,
    state: kv::Store,
    clock: BrokerClock,
}

impl Streams {
    /// Creates missing streams and buckets, changes those that differ, marks them as this project's,
    /// and reads back what it has changed or created: a server ignores fields that it doesn't know, so
    /// only reading back proves that the settings are in force. Other settings of an existing stream
    /// (placement, compression) belong to the operator and are left as they are.
    ///
    /// Nothing is changed when any of them belongs to somebody else.
    ///
    /// # Errors
    /// [`BrokerError::ForeignStream`], [`BrokerError::OtherProject`], [`BrokerError::NewerFormat`],
    /// [`BrokerError::SetUp`], [`BrokerError::Mismatch`], [`BrokerError::Request`].
    pub async fn ensure(connection: &Connection, settings: &StreamSettings) -> Result<Self, BrokerError> {
        // Boxed: setting up is rare and its future is large.
        Box::pin(Self::set_up(connection, settings)).await
    }

    /// Opens the streams and buckets as a worker has set them up. Changes nothing, so that a command
    /// with other settings than the worker's can't change the worker's streams.
    ///
    /// # Errors
    /// [`BrokerError::NotSetUp`], [`BrokerError::ForeignStream`], [`BrokerError::OtherProject`],
    /// [`BrokerError::NewerFormat`], [`BrokerError::Request`].
    pub async fn existing(connection: &Connection, settings: &StreamSettings) -> Result<Self, BrokerError> {
        let found = Box::pin(found(connection, settings)).await?;
        Box::pin(Self::open(connection, settings, found.into_iter().map(|(_, stream)| stream))).await
    }

    /// Gives the streams of another project to this one, for a project that has moved. Changes
    /// nothing but the owner marks, and nothing at all unless every stream and bucket can be given.
    /// Safe to repeat after an error. Returns the project that they belonged to, in words; `None` when
    /// they had no mark.
    ///
    /// # Errors
    /// [`BrokerError::NotSetUp`], [`BrokerError::ForeignStream`], [`BrokerError::NewerFormat`],
    /// [`BrokerError::SetUp`], [`BrokerError::Request`].
    pub async fn adopt(
        connection: &Connection,
        settings: &StreamSettings,
    ) -> Result<Option<String>, BrokerError> {
        let settings = StreamSettings { takes_over: true, ..settings.clone() };
        let found = Box::pin(found(connection, &settings)).await?;
        let before = found.first().and_then(|(_, stream)| ownership::owner(&stream.cached_info().config));
        let mark = settings.mark();
        for (wanted, stream) in &found {
            mark_stream(connection.jetstream(), wanted, &mark, stream).await?;
        }
        Ok(before)
    }

    async fn set_up(connection: &Connection, settings: &StreamSettings) -> Result<Self, BrokerError> {
        let context = connection.jetstream();
        let account = context.query_account().await;
        let account = account.map_err(BrokerError::request("asking for the limits of the account"))?;
        let sizes =
            SizeLimits::new(&account, settings.replicas, settings.max_bytes, settings.events_max_bytes);
        let mark = settings.mark();
        let mut streams = Vec::new();
        for (wanted, found) in judged(context, settings.wanted(&sizes), &mark).await? {
            match (wanted.usage, found) {
                (StreamUse::Messages | StreamUse::Records, found) => {
                    streams.push(ensure_stream(context, &wanted, &mark, found).await?);
                }
                (StreamUse::Checkpoints, Some(found)) => {
                    mark_stream(context, &wanted, &mark, &found).await?;
                }
                (StreamUse::Checkpoints, None) => {}
            }
        }
        Self::open(connection, settings, streams).await
    }

    async fn open(
        connection: &Connection,
        settings: &StreamSettings,
        streams: impl IntoIterator<Item = Stream>,
    ) -> Result<Self, BrokerError> {
        let (context, names) = (connection.jetstream(), settings.names.clone());
        let (runs, state) =
            tokio::try_join!(bucket(context, names.training_runs()), bucket(context, names.trainer_state()))?;
        let mut streams = streams.into_iter();
        let mut next =
            |name: &Name| streams.next().ok_or_else(|| BrokerError::NotSetUp { name: name.clone() });
        let clock = BrokerClock::new(context, names.corrections());
        clock.refresh().await?;
        let parts = Parts {
            clock,
            corrections: next(names.corrections())?,
            quarantine: next(names.quarantine())?,
            training: next(names.training())?,
            events: next(names.training_events())?,
            runs,
            state,
            connection: connection.clone(),
            mark: settings.mark(),
            names,
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Returns the connection that the streams use.
    pub fn connection(&self) -> &Connection {
        &self.parts.connection
    }

    /// Returns the broker's clock.
    pub fn clock(&self) -> &BrokerClock {
        &self.parts.clock
    }

    /// Returns the names of the streams, buckets and subjects.
    pub fn names(&self) -> &Names {
        &self.parts.names
    }

    /// Returns the project that the streams belong to, in words, as it was when they were opened.
    pub fn owner(&self) -> Option<String> {
        ownership::owner(&self.parts.corrections.cached_info().config)
    }

    /// Returns the number of copies of the streams.
    pub fn replicas(&self) -> usize {
        self.parts.training.cached_info().config.num_replicas
    }

    /// Returns the time at which the stream of pairs was created.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub(crate) async fn corrections_created_at(&self) -> Result<Timestamp, BrokerError> {
        let info = stream_info(&self.parts.corrections).await?;
        Ok(timestamp(info.created.unix_timestamp_nanos()))
    }

    pub(super) fn mark(&self) -> &OwnerMark {
        &self.parts.mark
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

    pub(crate) fn events(&self) -> &Stream {
        &self.parts.events
    }

    pub(super) fn runs<T: Serialize + DeserializeOwned>(&self) -> Records<T> {
        Records::new(self.parts.names.training_runs().clone(), self.parts.runs.clone())
    }

    /// Returns the bucket of state that must survive a restart, for records of one type.
    pub(crate) fn state<T: Serialize + DeserializeOwned>(&self) -> Records<T> {
        Records::new(self.parts.names.trainer_state().clone(), self.parts.state.clone())
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
        let subject = self.parts.names.stage_subject(stage);
        let subscription = self.parts.connection.client().subscribe(subject).await;
        Ok(subscription.map_err(BrokerError::request("watching the events of jobs"))?.map(drop))
    }
}

/// Opens the streams and buckets that a worker has set up, and judges all of them. The checkpoints'
/// bucket comes last, if there is one.
async fn found(
    connection: &Connection,
    settings: &StreamSettings,
) -> Result<Vec<(Wanted, Stream)>, BrokerError> {
    let judged = judged(connection.jetstream(), settings.known(), &settings.mark()).await?;
    let found = judged.into_iter().filter_map(|(wanted, stream)| match (wanted.usage, stream) {
        (_, Some(stream)) => Some(Ok((wanted, stream))),
        (StreamUse::Messages | StreamUse::Records, None) => {
            Some(Err(BrokerError::NotSetUp { name: wanted.name }))
        }
        (StreamUse::Checkpoints, None) => None,
    });
    found.collect()
}
