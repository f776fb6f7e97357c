//! The broker of a worker, and everything that is stored on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::broker::embedded::ClientToken;
use crate::broker::{
    Broker, BrokerError, Clock, Connection, Events, JobSettings, Jobs, Project, QueueHealth, Runs,
    StreamSettings, Streams, embedded,
};
use crate::confined::this_program;
use crate::corrections::{Corrections, LedgerFile};
use crate::ingest::DEFAULT_TABLE;
use crate::settings::{Nats, NatsStreams, Settings};
use crate::trigger::Trigger;

use super::WorkerError;

/// Handles to the broker and everything stored on it.
#[derive(Debug, Clone)]
pub struct BrokerHandles {
    /// Streams and buckets, and the connection to them.
    pub streams: Streams,
    /// Stored pairs.
    pub corrections: Corrections,
    /// Queue of job requests.
    pub jobs: Jobs,
    /// Run records.
    pub runs: Runs,
    /// Publisher of progress and outcomes.
    pub events: Events,
    /// Trigger that starts jobs.
    pub trigger: Trigger,
}

impl BrokerHandles {
    /// Connects to the broker, after starting it if it is embedded, and sets up the streams as the
    /// settings say.
    ///
    /// # Errors
    /// [`WorkerError::Queue`].
    pub async fn open(settings: &Settings) -> Result<Self, WorkerError> {
        Box::pin(Self::open_as(settings, &this_program(), false)).await
    }

    /// Does the same as [`BrokerHandles::open`] in a process that may have loaded this program as a library.
    /// Streams of another project are taken over if so wanted.
    ///
    /// # Errors
    /// [`WorkerError::Queue`].
    pub(super) async fn open_as(
        settings: &Settings,
        program: &Path,
        takes_over: bool,
    ) -> Result<Self, WorkerError> {
        let streams = StreamSettings { takes_over, ..stream_settings(settings) };
        let broker = broker(&settings.nats, &settings.data_dir, program);
        let connection = Box::pin(Connection::open(&broker)).await?;
        match Box::pin(Self::set_up(&connection, settings, &streams)).await {
            Ok(handles) => Ok(handles),
            Err(error) => {
                // An embedded server is stopped cleanly.
                connection.close().await;
                Err(error)
            }
        }
    }

    async fn set_up(
        connection: &Connection,
        settings: &Settings,
        streams: &StreamSettings,
    ) -> Result<Self, WorkerError> {
        let streams = Streams::ensure(connection, streams).await?;
        let file = LedgerFile::new(ledger_path(&settings.data_dir, &streams));
        let corrections = Box::pin(Corrections::open_with(&streams, table(settings), file)).await?;
        let handles = Self::on(&streams, settings, corrections);
        // Creates the consumer, or gives it these settings.
        let settings = job_settings(settings);
        let jobs = Box::pin(Jobs::open(&streams, &handles.events, settings)).await?;
        Ok(Self { jobs, ..handles })
    }

    /// Connects to the broker of a running worker, and leaves its streams as they are.
    ///
    /// # Errors
    /// [`WorkerError::Queue`].
    pub async fn connect(settings: &Settings) -> Result<Self, WorkerError> {
        let connection = Box::pin(Self::connection(settings)).await?;
        let streams = Streams::existing(&connection, &stream_settings(settings)).await?;
        let corrections = Corrections::unread(&streams, table(settings))?;
        Ok(Self::on(&streams, settings, corrections))
    }

    /// Connects to the broker, after starting it if it is embedded.
    ///
    /// # Errors
    /// [`WorkerError::Queue`].
    pub async fn connection(settings: &Settings) -> Result<Connection, WorkerError> {
        Ok(Connection::open(&broker(&settings.nats, &settings.data_dir, &this_program())).await?)
    }

    fn on(streams: &Streams, settings: &Settings, corrections: Corrections) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(streams.clock().clone());
        let events = Events::new(streams, Arc::clone(&clock));
        let jobs = Jobs::new(streams, &events, job_settings(settings));
        let trigger =
            Trigger::new(streams, &corrections, Arc::new(jobs.clone()), settings.trigger.clone(), clock);
        let runs = Runs::new(streams);
        Self { streams: streams.clone(), corrections, jobs, runs, events, trigger }
    }

    /// Asks the broker for the number of pending pairs and of jobs. Cheap enough for callers that
    /// ask every few seconds.
    ///
    /// # Errors
    /// The errors of the queue.
    pub async fn queue_health(&self) -> Result<QueueHealth, BrokerError> {
        let (pending, in_hand, outstanding) =
            tokio::try_join!(self.trigger.pending(), self.jobs.in_hand(), self.jobs.outstanding())?;
        let (threshold, waiting) = (self.trigger.policy().threshold, outstanding.saturating_sub(in_hand));
        Ok(QueueHealth { pending, threshold, in_hand, waiting })
    }
}

/// Returns the name of the table of pairs.
fn table(settings: &Settings) -> &str {
    settings.supabase.as_ref().map_or(DEFAULT_TABLE, |access| access.table.as_str())
}

/// Returns the path of the ledger's file. Workers of several namespaces may share a folder.
fn ledger_path(data_dir: &Path, streams: &Streams) -> PathBuf {
    data_dir.join("ledger").join(streams.names().corrections().to_string())
}

/// Returns the settings of the streams.
pub fn stream_settings(settings: &Settings) -> StreamSettings {
    let NatsStreams { names, replicas, replicas_are_set, max_bytes } = settings.nats_streams.clone();
    let project = settings.supabase.as_ref();
    StreamSettings {
        names,
        project: project.map(|access| Project::new(&access.url, &access.schema, &access.table)),
        replicas,
        replicas_are_set,
        max_bytes,
        ..StreamSettings::default()
    }
}

fn job_settings(settings: &Settings) -> JobSettings {
    let (ack_wait, ack_wait_is_set) = (settings.ack_wait, settings.ack_wait_is_set);
    JobSettings { ack_wait, ack_wait_is_set, ..JobSettings::default() }
}

/// Returns the folder of the embedded server's store.
pub(crate) fn store_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("nats")
}

/// Returns the broker of these settings. An embedded server is tied to this process by `this_program`.
fn broker(nats: &Nats, data_dir: &Path, this_program: &Path) -> Broker {
    match nats {
        Nats::Embedded { program, address, sync_every, token } => Broker::Embedded(embedded::Options {
            program: program.clone(),
            host: address.ip(),
            port: address.port(),
            token: token.clone().map_or(ClientToken::Stored, ClientToken::Given),
            sync_every: *sync_every,
            tied_by: Some(this_program.to_owned()),
            ..embedded::Options::new(store_dir(data_dir))
        }),
        Nats::Remote(remote) => Broker::Remote(remote.clone()),
    }
}
