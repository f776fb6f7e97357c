//! Checkpoints on JetStream's object store, for trainers that share no disk.
//!
//! The bucket `training_checkpoints` holds one object per run, named by the run's id. The object
//! store shows an object only when all its chunks are stored, and only then removes the previous
//! one. A reader verifies the object's SHA-256, so it detects missing chunks. The bucket has room
//! for what a run needs and no more, and drops objects that were not replaced for two weeks.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::object_store::{DeleteErrorKind, InfoErrorKind, ObjectMetadata, ObjectStore};
use async_nats::jetstream::stream::{DiscardPolicy, RetentionPolicy, Stream};
use futures::TryStreamExt;
use jiff::Timestamp;

use super::clock::timestamp;
use super::connection::Connection;
use super::error::BrokerError;
use super::job_id::JobId;
use super::names::{Name, Names};
use super::ownership::OwnerMark;
use super::set_up::{ensure_stream, find_stream};
use super::size_limits::{LimitSource, SizeLimit};
use super::stream_config::{StreamUse, Wanted};
use super::streams::Streams;

/// Metadata key for the number of optimizer steps that a checkpoint has done.
const STEP: &str = "step";
/// Time that one transfer of a checkpoint may take. Two transfers fit into the time
/// that a stopping worker has.
const TRANSFER: Duration = Duration::from_secs(100);
/// Age at which a checkpoint is dropped: a run whose checkpoint was not replaced for
/// this long won't be retried.
const MAX_AGE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Largest part of a checkpoint in one message, in bytes.
const MAX_CHUNK: usize = 128 * 1024;
/// Age at which chunks without an object are removed: the worker that sent them has crashed.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);
/// Number of checkpoints that the bucket has room for: the current one, one in transfer, and two
/// whose chunks have no object.
const CAPACITY: u64 = 4;
/// Granularity of the bucket's size in bytes: a checkpoint grows a little with every optimizer
/// step.
const ROOM_STEP: u64 = 16 << 20;

/// Prefix of the subject of an object's chunks; the object's id follows.
fn chunks(bucket: &str) -> String {
    format!("$O.{bucket}.C.")
}

/// Returns the settings of the stream behind the bucket, without its size.
pub(super) fn known(names: &Names) -> Wanted {
    let bucket = names.training_checkpoints();
    Wanted {
        name: Name::from(format!("OBJ_{bucket}")),
        subjects: vec![format!("{}>", chunks(bucket)), format!("$O.{bucket}.M.>")],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        max_age: MAX_AGE,
        size: SizeLimit { bytes: -1, source: LimitSource::Default },
        per_subject: -1,
        duplicate_window: Duration::ZERO,
        replicas: 1,
        replicas_are_set: false,
        usage: StreamUse::Checkpoints,
    }
}

/// Handle of the checkpoints on the broker. Clones share the connection.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    connection: Connection,
    names: Names,
    mark: OwnerMark,
    replicas: usize,
}

impl CheckpointStore {
    /// Creates a handle. The bucket gets as many copies as `streams` have, and is created
    /// when it is first needed.
    pub fn new(streams: &Streams) -> Self {
        let (connection, names) = (streams.connection().clone(), streams.names().clone());
        Self { connection, names, mark: streams.mark().clone(), replicas: streams.replicas() }
    }

    /// Stores a file as the checkpoint of a run and replaces the previous one.
    ///
    /// # Errors
    /// [`BrokerError::SetUp`], [`BrokerError::Mismatch`], [`BrokerError::CheckpointFile`],
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`]. The previous checkpoint then stays.
    pub async fn put(&self, id: &JobId, step: u64, file: &Path) -> Result<(), BrokerError> {
        bounded("storing a checkpoint", async {
            let unreadable = |source| BrokerError::CheckpointFile { path: file.to_owned(), source };
            let mut bytes = tokio::fs::File::open(file).await.map_err(unreadable)?;
            let size = bytes.metadata().await.map_err(unreadable)?.len();
            let bucket = self.bucket_for(size).await?;
            let largest = self.connection.client().max_payload();
            let metadata = ObjectMetadata {
                name: id.to_string(),
                // The client's own chunks are larger than some servers' messages.
                chunk_size: Some(MAX_CHUNK.min(largest / 2).max(1024)),
                metadata: HashMap::from([(STEP.to_owned(), step.to_string())]),
                ..ObjectMetadata::default()
            };
            bucket.put(metadata, &mut bytes).await.map_err(BrokerError::request("storing a checkpoint"))?;
            Ok(())
        })
        .await
    }

    /// Returns the number of optimizer steps in a run's stored checkpoint; `None` when there is
    /// none.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn step(&self, id: &JobId) -> Result<Option<u64>, BrokerError> {
        let Some(bucket) = self.bucket().await? else { return Ok(None) };
        match bucket.info(id.as_str()).await {
            Ok(info) if info.deleted => Ok(None),
            Ok(info) => Ok(info.metadata.get(STEP).and_then(|step| step.parse().ok())),
            Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(None),
            Err(error) => Err(BrokerError::request("looking for a checkpoint")(error)),
        }
    }

    /// Fetches a run's checkpoint into a file. On success, the file is complete and synced to disk.
    ///
    /// # Errors
    /// [`BrokerError::Request`], also when there is no checkpoint or when the received bytes
    /// differ from the stored ones; [`BrokerError::CheckpointFile`], [`BrokerError::TimedOut`].
    /// The file is then unusable.
    pub async fn fetch(&self, id: &JobId, file: &Path) -> Result<(), BrokerError> {
        const WHAT: &str = "fetching a checkpoint";
        bounded(WHAT, async {
            let bucket =
                self.connection.jetstream().get_object_store(&**self.names.training_checkpoints()).await;
            let bucket = bucket.map_err(BrokerError::request(WHAT))?;
            let mut object = bucket.get(id.as_str()).await.map_err(BrokerError::request(WHAT))?;
            let unwritable = |source| BrokerError::CheckpointFile { path: file.to_owned(), source };
            let mut out = tokio::fs::File::create(file).await.map_err(unwritable)?;
            // Reading to the end verifies the SHA-256.
            tokio::io::copy(&mut object, &mut out).await.map_err(BrokerError::request(WHAT))?;
            out.sync_all().await.map_err(unwritable)
        })
        .await
    }

    /// Removes a run's checkpoint, and the chunks that crashed workers have left. Safe to repeat.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn forget(&self, id: &JobId, now: Timestamp) -> Result<(), BrokerError> {
        bounded("removing a checkpoint", async {
            let Some(bucket) = self.bucket().await? else { return Ok(()) };
            match bucket.delete(id.as_str()).await {
                Ok(()) => {}
                Err(error) if error.kind() == DeleteErrorKind::NotFound => {}
                Err(error) => return Err(BrokerError::request("removing a checkpoint")(error)),
            }
            self.sweep(&bucket, now).await
        })
        .await
    }

    /// Removes chunks that belong to no object and are too old to be part of a transfer in
    /// progress.
    async fn sweep(&self, bucket: &ObjectStore, now: Timestamp) -> Result<(), BrokerError> {
        const WHAT: &str = "looking for stranded checkpoints";
        let Some(stream) = self.stream().await? else { return Ok(()) };
        let chunks = chunks(self.names.training_checkpoints());
        let stored = stream.info_with_subjects(format!("{chunks}>")).await;
        let stored = stored.map_err(BrokerError::request(WHAT))?;
        let subjects: Vec<(String, usize)> =
            stored.try_collect().await.map_err(BrokerError::request(WHAT))?;
        let objects = bucket.list().await.map_err(BrokerError::request(WHAT))?;
        let known: BTreeSet<String> = objects
            .map_ok(|object| format!("{chunks}{}", object.nuid))
            .try_collect()
            .await
            .map_err(BrokerError::request(WHAT))?;
        for (subject, _) in subjects.into_iter().filter(|(subject, _)| !known.contains(subject)) {
            let first = stream.direct_get_next_for_subject(&subject, None).await;
            let first = first.map_err(BrokerError::request(WHAT))?;
            let begun_at = timestamp(first.time.unix_timestamp_nanos());
            if now.duration_since(begun_at).unsigned_abs() > ORPHAN_AGE {
                tracing::info!(subject, "removing a checkpoint that was never finished");
                let purged = stream.purge().filter(&subject).await;
                purged.map_err(BrokerError::request("removing a stranded checkpoint"))?;
            }
        }
        Ok(())
    }

    /// Returns the bucket, if it exists.
    async fn bucket(&self) -> Result<Option<ObjectStore>, BrokerError> {
        match self.stream().await? {
            Some(_) => self.open().await.map(Some),
            None => Ok(None),
        }
    }

    async fn stream(&self) -> Result<Option<Stream>, BrokerError> {
        find_stream(self.connection.jetstream(), &known(&self.names).name).await
    }

    /// Creates or enlarges the bucket so that it has room for checkpoints of this size.
    async fn bucket_for(&self, size: u64) -> Result<ObjectStore, BrokerError> {
        let room = i64::try_from((size * CAPACITY).next_multiple_of(ROOM_STEP)).unwrap_or(i64::MAX);
        let wanted = Wanted {
            size: SizeLimit { bytes: room, source: LimitSource::Needed },
            replicas: self.replicas,
            ..known(&self.names)
        };
        let found = self.stream().await?;
        ensure_stream(self.connection.jetstream(), &wanted, &self.mark, found).await?;
        self.open().await
    }

    async fn open(&self) -> Result<ObjectStore, BrokerError> {
        let found = self.connection.jetstream().get_object_store(&**self.names.training_checkpoints()).await;
        found.map_err(BrokerError::request("opening the checkpoints"))
    }
}

/// Runs a transfer under its deadline. The future is boxed because it is large.
async fn bounded<T>(
    what: &'static str,
    transfer: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(TRANSFER, Box::pin(transfer)).await {
        Ok(done) => done,
        Err(_) => Err(BrokerError::TimedOut { what }),
    }
}
