//! JetStream: everything the worker keeps or hands on goes through here.
//!
//! Owns the broker (embedded or remote), its streams and buckets, the pairs, the job requests, the run
//! records, the events and the status service. Never decides when to train (that is `trigger`) and never
//! trains.
//!
//! ```text
//! embedded/       the supervised nats-server child
//! connection.rs   which broker, and whether it can do what we need
//! streams.rs      the streams and buckets, created and read back
//! corrections/    the pairs: append once, screen, count, snapshot, quarantine
//! job_id.rs       what a run is called
//! request.rs      a request to train, parsed from outside bytes
//! jobs.rs         the queue of requests: add, take, refuse
//! waiting.rs      the records of requests that wait
//! control.rs      cancelling and retrying
//! job.rs          a job in hand: kept alive, settled
//! runs.rs         the run records
//! checkpoints.rs  where training stands, for trainers that share no disk
//! events.rs       progress and outcomes, for whoever listens
//! status.rs       the status service
//! run_state.rs    where a run stands
//! event_stage.rs  stages of events that are no stage of a run
//! version.rs      which nats-server is new enough
//! records.rs      typed records, changed by compare-and-swap
//! clock.rs        time as an argument
//! error.rs        what can go wrong
//! ```

mod checkpoints;
mod clock;
mod connection;
mod control;
pub mod embedded;
mod error;
mod event_stage;
mod events;
mod job;
mod job_id;
mod jobs;
mod records;
mod request;
mod run_state;
mod runs;
mod status;
mod streams;
mod version;
mod waiting;

pub use checkpoints::{CheckpointStore, TRAINING_CHECKPOINTS};
pub(crate) use clock::timestamp;
pub use clock::{Clock, SystemClock};
pub use connection::{Broker, Connection, Remote};
pub use error::QueueError;
pub use event_stage::{ENDED, QUEUED, REFUSED, SETTLED};
pub use events::{Event, Events};
pub use job::Job;
pub use job_id::{JobId, NotAJobId};
pub use jobs::{JobSettings, Jobs};
pub(crate) use records::Records;
pub use records::Revision;
pub use request::{JobRequest, RequestRefusal};
pub use run_state::RunState;
pub use runs::{Began, PackageRecord, PublishedArtifact, RecordedError, RunRecord, Runs, StageRecord};
pub use status::{QueueHealth, STATUS_SERVICE, STATUS_SUBJECT, Status, StatusService};
pub use streams::{
    CANCEL_SUBJECT, CORRECTIONS, JOBS_SUBJECT, QUARANTINE, StreamSettings, Streams, TRAINER_STATE, TRAINING,
    TRAINING_EVENTS, TRAINING_RUNS,
};
