//! Message broker: NATS with JetStream, which stores the worker's state and carries its messages.
//!
//! Owns the connection (to an embedded or a remote server), the streams and buckets, the job
//! requests, the run records, the events and the status service. The pairs on these streams
//! belong to [`corrections`](crate::corrections). Never decides when to train (that is
//! `trigger`) and never trains.
//!
//! ```text
//! embedded/       supervised nats-server child
//! connection.rs   connection to the broker, with checks of its version and of JetStream
//! remote.rs       access to a broker that somebody else runs: login, TLS, JetStream domain
//! connect_failure.rs  reasons for a failed connection, each with the setting that mends it
//! blocking.rs     blocking work off the async threads
//! names.rs        names of streams, buckets and subjects, below a namespace
//! streams.rs      streams and buckets, and handles to them
//! set_up.rs       creation, change and check of one stream or bucket
//! stream_config.rs  settings that a stream should have, and differences
//! ownership.rs    owner mark of a stream
//! project.rs      project that an owner mark names
//! size_limits.rs  size limits of the streams
//! job_id.rs       id of a run
//! request.rs      request to train, parsed from outside bytes
//! request_ids.rs  ids of requests that come without one
//! jobs.rs         queue of requests: add, take, refuse
//! waiting.rs      run records of requests that wait
//! control.rs      cancel and retry
//! job.rs          delivered job: kept alive, then settled
//! runs.rs         run records
//! run_index.rs    summaries of the runs, in pages
//! latest_runs.rs  figures of the latest runs, for metrics
//! queued_runs.rs  runs behind the requests on the queue
//! message_size.rs bound on the size of records and events
//! checkpoints.rs  checkpoints in the object store, for trainers that share no disk
//! events.rs       progress and outcomes, for subscribers
//! status.rs       status service
//! run_state.rs    state of a run
//! event_stage.rs  stages of events that are not stages of a run
//! watching.rs     watch that goes on through failures
//! version.rs      oldest nats-server that works
//! records.rs      typed records, changed by compare-and-swap
//! clock.rs        clock as an argument, and the broker's clock
//! error.rs        errors, with advice for each
//! ```

mod blocking;
mod checkpoints;
mod clock;
mod connect_failure;
mod connection;
mod control;
pub mod embedded;
mod error;
mod event_stage;
mod events;
mod job;
mod job_id;
mod jobs;
mod latest_runs;
mod message_size;
mod names;
mod ownership;
mod project;
mod queued_runs;
mod records;
mod remote;
mod request;
mod request_ids;
mod run_index;
mod run_state;
mod runs;
mod set_up;
mod size_limits;
mod status;
mod stream_config;
mod streams;
mod version;
mod waiting;
mod watching;

pub(crate) use blocking::blocking;
pub use checkpoints::CheckpointStore;
pub(crate) use clock::timestamp;
pub use clock::{BrokerClock, Clock, SystemClock};
pub use connect_failure::ConnectFailure;
pub use connection::{Broker, Connection};
pub use error::BrokerError;
pub use event_stage::{ALERT, ENDED, QUEUED, REFUSED, SETTLED};
pub use events::{Event, Events};
pub use job::Job;
pub use job_id::{JobId, NotAJobId};
pub use jobs::{JobSettings, Jobs};
pub use latest_runs::LatestRuns;
pub use message_size::{MAX_MESSAGE, is_left_out};
pub use names::{Name, Names, Namespace, NotANamespace};
pub use project::Project;
pub use queued_runs::QueuedRuns;
pub(crate) use records::Records;
pub use records::Revision;
pub use remote::{ClientCertificate, Login, Remote, UserLogin};
pub use request::{JobRequest, RequestRefusal};
pub use run_index::{RunPage, RunScores, RunSummary};
pub use run_state::RunState;
pub use runs::{
    KnownRollback, PackageRecord, PublishedArtifact, RecordedError, RunRecord, Runs, StageRecord,
};
pub use status::{QueueHealth, StatusService, ask_status, trainer_is_up, worker_is_up};
pub(crate) use streams::stream_info;
pub use streams::{StreamSettings, Streams};
pub(crate) use watching::keep_watching;
