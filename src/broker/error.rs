//! What can go wrong with the broker, and what each kind asks for.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use async_nats::ConnectErrorKind;

use super::job_id::{JobId, NotAJobId};
use super::run_state::RunState;
use crate::failure::{Failure, RetryDirective};

/// A source kept for the log; the kinds of this area decide what happens.
pub(super) type Source = Box<dyn Error + Send + Sync + 'static>;

/// Why something on the queue failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// No nats-server program was found.
    #[error("no nats-server program at {}", .program.display())]
    ProgramMissing {
        /// What was looked for.
        program: PathBuf,
    },
    /// The nats-server program can't be run.
    #[error("{} can't be run", .program.display())]
    Program {
        /// What was run.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The server, embedded or remote, is older than this program can work with.
    #[error("nats-server {found} is too old: {needed} or newer is needed")]
    ServerTooOld {
        /// What it says it is.
        found: String,
        /// The oldest that works.
        needed: &'static str,
    },
    /// Another live process supervises a server on the same store folder.
    #[error("the store {} is in use by another worker", .store.display())]
    StoreInUse {
        /// The folder both want.
        store: PathBuf,
    },
    /// A file or folder of the embedded server's store can't be used.
    #[error("can't use {}", .path.display())]
    Store {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The embedded server ended before it was ready.
    #[error("nats-server ended before it was ready ({status})")]
    ServerEnded {
        /// How it ended.
        status: ExitStatus,
    },
    /// The embedded server was not ready in time.
    #[error("nats-server was not ready after {after:?}")]
    ServerNotReady {
        /// How long it was given.
        after: Duration,
    },
    /// The server can't be reached or doesn't let us in.
    #[error("can't connect to NATS")]
    Connect {
        /// What the client says.
        source: async_nats::ConnectError,
    },
    /// The server is there and doesn't let us in: wrong, expired or missing credentials.
    #[error("the NATS server refuses these credentials")]
    Refused,
    /// The credentials file can't be read.
    #[error("can't read the NATS credentials {}", .path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The server runs without JetStream, or this account may not use it.
    #[error("JetStream is not available")]
    JetStreamUnavailable {
        /// What the server says.
        source: Source,
    },
    /// The server refuses to create or change a stream or bucket.
    #[error("can't set up {name}")]
    SetUp {
        /// The stream or bucket.
        name: &'static str,
        /// What the server says.
        source: Source,
    },
    /// A stream or bucket is not what was asked for when it is read back.
    #[error("{name} has the wrong {setting}")]
    Mismatch {
        /// The stream or bucket.
        name: &'static str,
        /// The setting that differs.
        setting: &'static str,
    },
    /// A request to the server failed.
    #[error("NATS request failed: {what}")]
    Request {
        /// What was asked.
        what: &'static str,
        /// What the client says.
        source: Source,
    },
    /// The server did not answer in time.
    #[error("NATS did not answer in time: {what}")]
    TimedOut {
        /// What was asked.
        what: &'static str,
    },
    /// A message was not stored, or nobody knows whether it was.
    #[error("a message for {stream} was not acknowledged")]
    Publish {
        /// The stream it was meant for.
        stream: &'static str,
        /// What the client says.
        source: async_nats::jetstream::context::PublishError,
    },
    /// Somebody else changed the record since it was read.
    #[error("{bucket}/{key} was changed by somebody else")]
    Conflict {
        /// The bucket.
        bucket: &'static str,
        /// The key.
        key: String,
    },
    /// The record to be created is there already.
    #[error("{bucket}/{key} exists already")]
    Exists {
        /// The bucket.
        bucket: &'static str,
        /// The key.
        key: String,
    },
    /// A stored record can't be read: foreign, or of an unknown version.
    #[error("{bucket}/{key} can't be read")]
    Unreadable {
        /// The bucket.
        bucket: &'static str,
        /// The key.
        key: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A checkpoint's file can't be read or written while it is carried to the broker or from it.
    #[error("can't carry the checkpoint {}", .path.display())]
    CheckpointFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A value can't be written as JSON.
    #[error("a value can't be written as JSON")]
    Encode {
        /// What the serializer says.
        #[from]
        source: serde_json::Error,
    },
    /// A table's name is empty or holds control characters.
    #[error("not a table name")]
    InvalidTable,
    /// There is no run with this id.
    #[error("there is no run {id}")]
    UnknownRun {
        /// The id asked for.
        id: JobId,
    },
    /// The run has ended; there is nothing to cancel, or nothing to try again.
    #[error("run {id} has ended: {state}")]
    RunEnded {
        /// The run.
        id: JobId,
        /// How it ended.
        state: RunState,
    },
    /// The run has not ended yet; there is nothing to try again.
    #[error("run {id} has not ended: {state}")]
    RunNotEnded {
        /// The run.
        id: JobId,
        /// Where it stands.
        state: RunState,
    },
    /// A row whose own text can't be trained on, whoever says so.
    #[error("a row that is {refusal} can't be released")]
    NotReleasable {
        /// Why it is in quarantine.
        refusal: crate::correction::Refusal,
    },
    /// A text is no job id: 1 to 64 ASCII letters, digits, `-` and `_`.
    #[error(transparent)]
    InvalidJobId(#[from] NotAJobId),
}

impl QueueError {
    pub(crate) fn request(what: &'static str) -> impl FnOnce(Source) -> Self {
        move |source| Self::Request { what, source }
    }

    /// Sorts out why there is no connection.
    pub(super) fn connect(source: async_nats::ConnectError) -> Self {
        match source.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                // What the client says is that it was refused.
                Self::Refused
            }
            _ => Self::Connect { source },
        }
    }

    pub(super) fn store(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Store { path, source }
    }
}

impl Failure for QueueError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Connect { source } => match source.kind() {
                ConnectErrorKind::ServerParse
                | ConnectErrorKind::Authentication
                | ConnectErrorKind::AuthorizationViolation
                | ConnectErrorKind::Tls => RetryDirective::Person,
                ConnectErrorKind::Dns
                | ConnectErrorKind::TimedOut
                | ConnectErrorKind::Io
                | ConnectErrorKind::MaxReconnects => RetryDirective::Retry,
            },
            Self::ServerEnded { .. }
            | Self::ServerNotReady { .. }
            | Self::Request { .. }
            | Self::TimedOut { .. }
            | Self::Publish { .. }
            | Self::Conflict { .. } => RetryDirective::Retry,
            Self::ProgramMissing { .. }
            | Self::Program { .. }
            | Self::ServerTooOld { .. }
            | Self::StoreInUse { .. }
            | Self::Store { .. }
            | Self::Refused
            | Self::CheckpointFile { .. }
            | Self::Credentials { .. }
            | Self::JetStreamUnavailable { .. }
            | Self::SetUp { .. }
            | Self::Mismatch { .. }
            | Self::InvalidTable
            | Self::Unreadable { .. } => RetryDirective::Person,
            Self::Exists { .. }
            | Self::Encode { .. }
            | Self::NotReleasable { .. }
            | Self::UnknownRun { .. }
            | Self::RunEnded { .. }
            | Self::RunNotEnded { .. }
            | Self::InvalidJobId(_) => RetryDirective::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::ProgramMissing { .. } => {
                "Install nats-server 2.10 or newer, or set NATS_URL to a server that runs already.".into()
            }
            Self::Program { .. } => "Check that the nats-server program is executable on this machine.".into(),
            Self::ServerTooOld { needed, .. } => format!("Upgrade nats-server to {needed} or newer."),
            Self::StoreInUse { .. } => {
                "Stop the other worker, or give this one a data folder of its own.".into()
            }
            Self::Store { .. } | Self::CheckpointFile { .. } => "Check the data folder's rights and the free space on its disk.".into(),
            Self::ServerEnded { .. } => {
                "Look at nats-server's own log lines (RUST_LOG=autovalidate=debug): a used port or a damaged store are usual.".into()
            }
            Self::ServerNotReady { .. } => {
                "A large store takes long to recover: wait, or look at nats-server's own log lines (RUST_LOG=autovalidate=debug).".into()
            }
            Self::Connect { .. } => "Check NATS_URL, NATS_CA, and that the server is reachable.".into(),
            Self::Refused => {
                "Check NATS_CREDS or NATS_TOKEN: the server knows no such user, or the file has expired or was revoked.".into()
            }
            Self::Credentials { .. } => "Check that NATS_CREDS names a readable credentials file.".into(),
            Self::JetStreamUnavailable { .. } => {
                "Turn JetStream on in the server, and allow it for this account.".into()
            }
            Self::SetUp { name, .. } => {
                format!("Check the account's rights and limits, and whether a foreign {name} or its subjects are in the way.")
            }
            Self::Mismatch { name, setting } => {
                format!("Set {setting} of {name} as this program needs it, or remove it when it is empty so that it is created anew.")
            }
            Self::Request { .. } | Self::TimedOut { .. } | Self::Publish { .. } => {
                "Passing trouble with NATS is retried; check the server when it lasts.".into()
            }
            Self::Conflict { .. } => "Read the record again and repeat the change.".into(),
            Self::Exists { .. } => "Use the record that is there.".into(),
            Self::Unreadable { bucket, key, .. } => {
                format!("Look at `nats kv get {bucket} {key}`; a newer version of this program may have written it.")
            }
            Self::Encode { .. } => "Report this as a defect.".into(),
            Self::NotReleasable { .. } => {
                "Insert a corrected row into the table, and drop this one.".into()
            }
            Self::InvalidTable => "Check SUPABASE_TABLE.".into(),
            Self::UnknownRun { .. } => "`autovalidate runs list` shows all.".into(),
            Self::RunEnded { .. } => {
                "Queued and running runs can be cancelled, failed and cancelled ones retried, and those that a rollback keeps back; `autovalidate enqueue` starts a new one.".into()
            }
            Self::RunNotEnded { .. } => "Wait for its end, or cancel it first.".into(),
            Self::InvalidJobId(_) => "Use 1 to 64 ASCII letters, digits, `-` and `_`.".into(),
        }
    }
}
