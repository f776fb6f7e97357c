//! Errors of the broker, with a retry directive and advice for each.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use async_nats::ConnectErrorKind;

use super::connect_failure::{ConnectFailure, causes};
use super::job_id::{JobId, NotAJobId};
use super::names::Name;
use super::remote::{Login, Remote};
use super::run_state::RunState;
use crate::failure::{Failure, RetryDirective};

/// Source of an error, kept for the log. Only the error's kind decides how the worker reacts.
pub(super) type Source = Box<dyn Error + Send + Sync + 'static>;

/// Errors of the broker and of the records on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// No nats-server program was found.
    #[error("no nats-server program at {}", .program.display())]
    ProgramMissing {
        /// Path or name that was looked up.
        program: PathBuf,
    },
    /// The nats-server program can't be run.
    #[error("{} can't be run", .program.display())]
    Program {
        /// Path of the program.
        program: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The server, embedded or remote, is older than this program can work with.
    #[error("nats-server {found} is too old: {needed} or newer is needed")]
    ServerTooOld {
        /// Version that the server reports.
        found: String,
        /// Oldest version that works.
        needed: &'static str,
    },
    /// Another live process supervises a server on the same store folder.
    #[error("the store {} is in use by another worker", .store.display())]
    StoreInUse {
        /// Store folder.
        store: PathBuf,
    },
    /// A file or folder of the embedded server's store can't be used.
    #[error("can't use {} in the store of nats-server", .path.display())]
    Store {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The embedded server ended before it was ready.
    #[error("nats-server ended before it was ready ({status})")]
    ServerEnded {
        /// Exit status of the server.
        status: ExitStatus,
    },
    /// The embedded server was not ready in time.
    #[error("nats-server was not ready after {after:?}")]
    ServerNotReady {
        /// Time that the server had to become ready.
        after: Duration,
    },
    /// The server can't be reached, or the connection can't be set up.
    #[error("can't connect to NATS")]
    Connect {
        /// Reason, as far as it can be told.
        reason: ConnectFailure,
        /// Error of the client.
        source: async_nats::ConnectError,
    },
    /// The server refuses the connection: the credentials are wrong, expired or missing.
    #[error("the NATS server refuses these credentials: {sentence}")]
    Refused {
        /// Proof that the client presented.
        login: Login,
        /// Sentence of the server.
        sentence: String,
    },
    /// The server does not permit this user a subject that every worker needs.
    #[error("the NATS server does not permit this user enough: {sentence}")]
    NotPermitted {
        /// Sentence of the server.
        sentence: String,
    },
    /// The credentials file can't be read.
    #[error("can't read the NATS credentials {}", .path.display())]
    Credentials {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The server runs without JetStream, or this account may not use it.
    #[error("JetStream is not available")]
    JetStreamUnavailable {
        /// JetStream domain that was asked for.
        domain: Option<String>,
        /// Error of the server.
        source: Source,
    },
    /// The server refuses to create or change a stream or bucket.
    #[error("can't set up {name}")]
    SetUp {
        /// Name of the stream or bucket.
        name: Name,
        /// Error of the server.
        source: Source,
    },
    /// A stream or bucket does not exist: no worker has set it up.
    #[error("there is no {name} on this NATS server")]
    NotSetUp {
        /// Name of the stream or bucket.
        name: Name,
    },
    /// A stream or bucket differs from the requested settings when it is read back.
    #[error("{name} has the wrong {setting}")]
    Mismatch {
        /// Name of the stream or bucket.
        name: Name,
        /// Setting that differs.
        setting: &'static str,
    },
    /// A stream has the name of one of ours, and another program made it.
    #[error("there is a stream {name} on this NATS server that is not this program's: {difference}")]
    ForeignStream {
        /// Name of the stream.
        name: Name,
        /// Difference from a stream of this program, as a clause.
        difference: String,
    },
    /// The streams belong to another project.
    #[error("the streams on this NATS server belong to another project, {owner}; this is {own}")]
    OtherProject {
        /// Project that the streams belong to, in words.
        owner: String,
        /// Project of this process, in words.
        own: String,
    },
    /// A newer version of this program has set up a stream in a form that this one doesn't know.
    #[error("a newer version of this program has set up {name}")]
    NewerFormat {
        /// Name of the stream.
        name: Name,
    },
    /// A request to the server failed.
    #[error("NATS request failed: {what}")]
    Request {
        /// Purpose of the request.
        what: &'static str,
        /// Error of the client.
        source: Source,
    },
    /// The server did not answer in time.
    #[error("NATS did not answer in time: {what}")]
    TimedOut {
        /// Purpose of the request.
        what: &'static str,
    },
    /// The server or the stream takes only smaller messages.
    #[error("the NATS server takes only smaller messages: {what}")]
    TooLarge {
        /// Purpose of the message.
        what: &'static str,
        /// Error of the client or the server.
        source: Source,
    },
    /// A message was not stored, or its acknowledgement was lost.
    #[error("a message for {stream} was not acknowledged")]
    Publish {
        /// Stream that the message was meant for.
        stream: Name,
        /// Error of the client.
        source: async_nats::jetstream::context::PublishError,
    },
    /// Another writer changed the record since it was read.
    #[error("another writer changed the record {bucket}/{key}")]
    Conflict {
        /// Bucket of the record.
        bucket: Name,
        /// Key of the record.
        key: String,
    },
    /// The record to be created already exists.
    #[error("the record {bucket}/{key} already exists")]
    Exists {
        /// Bucket of the record.
        bucket: Name,
        /// Key of the record.
        key: String,
    },
    /// A stored record can't be parsed: another program or an unknown version wrote it.
    #[error("the record {bucket}/{key} can't be read")]
    Unreadable {
        /// Bucket of the record.
        bucket: Name,
        /// Key of the record.
        key: String,
        /// Error of the parser.
        source: serde_json::Error,
    },
    /// A checkpoint's file can't be read or written during a transfer to or from the broker.
    #[error("can't transfer the checkpoint {}", .path.display())]
    CheckpointFile {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A value can't be written as JSON.
    #[error("a value can't be written as JSON")]
    Encode {
        /// Error of the serializer.
        #[from]
        source: serde_json::Error,
    },
    /// A table's name is empty or holds control characters.
    #[error("the table's name is empty or has control characters")]
    InvalidTable,
    /// There is no run with this id.
    #[error("there is no run {id}")]
    UnknownRun {
        /// Id that was looked up.
        id: JobId,
    },
    /// The run has ended in a state in which it can't be cancelled or retried.
    #[error("run {id} has ended: {state}")]
    RunEnded {
        /// Id of the run.
        id: JobId,
        /// Final state of the run.
        state: RunState,
    },
    /// The run has not ended yet, so it can't be retried.
    #[error("run {id} has not ended: {state}")]
    RunNotEnded {
        /// Id of the run.
        id: JobId,
        /// State of the run.
        state: RunState,
    },
    /// The row's own text can't be trained on, so even a person can't release the row.
    #[error("a row with the reason {refusal} can't be released from quarantine")]
    NotReleasable {
        /// Reason for the quarantine.
        refusal: crate::correction::Refusal,
    },
    /// A text is not a job id, which has 1 to 64 ASCII letters, digits, `-` and `_`.
    #[error(transparent)]
    InvalidJobId(#[from] NotAJobId),
}

impl BrokerError {
    /// Returns a function for `map_err` that adds the purpose of the failed request.
    pub(crate) fn request<E: Into<Source>>(what: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::Request { what, source: error.into() }
    }

    /// Returns a function for `map_err` that adds the purpose of the message that was not stored. One
    /// that is too large has a kind of its own, since sending it again can't succeed.
    pub(super) fn sending<E: Into<Source>>(what: &'static str) -> impl Fn(E) -> Self {
        move |error| {
            let source = error.into();
            match is_too_large(source.as_ref()) {
                true => Self::TooLarge { what, source },
                false => Self::Request { what, source },
            }
        }
    }

    /// Maps a connection error: refused credentials have a kind of their own.
    pub(super) fn connect(source: async_nats::ConnectError, remote: &Remote) -> Self {
        match source.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                // The client puts its own words before the server's.
                let sentence = causes(&source).last().map(ToString::to_string).unwrap_or_default();
                let sentence = sentence.trim_start_matches("nats: ").to_owned();
                Self::Refused { login: remote.login(), sentence }
            }
            _ => Self::Connect { reason: ConnectFailure::of(&source, remote), source },
        }
    }

    pub(super) fn store(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Store { path, source }
    }
}

impl Failure for BrokerError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Connect { reason, .. } => reason.directive(),
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
            | Self::Refused { .. }
            | Self::NotPermitted { .. }
            | Self::CheckpointFile { .. }
            | Self::Credentials { .. }
            | Self::JetStreamUnavailable { .. }
            | Self::SetUp { .. }
            | Self::NotSetUp { .. }
            | Self::Mismatch { .. }
            | Self::TooLarge { .. }
            | Self::ForeignStream { .. }
            | Self::OtherProject { .. }
            | Self::NewerFormat { .. }
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
                "Install nats-server 2.10 or newer, or set NATS_URL to a running server.".into()
            }
            Self::Program { .. } => "Check that the nats-server program is executable on this machine.".into(),
            Self::ServerTooOld { needed, .. } => format!("Upgrade nats-server to {needed} or newer."),
            Self::StoreInUse { .. } => {
                "Stop the other worker, or give this one a data folder of its own.".into()
            }
            Self::Store { .. } | Self::CheckpointFile { .. } => "Check the data folder's permissions and the free space on its disk.".into(),
            Self::ServerEnded { .. } => {
                "Read nats-server's log lines (RUST_LOG=autovalidate=debug): usual causes are a port in use and a damaged store.".into()
            }
            Self::ServerNotReady { .. } => {
                "A large store takes long to recover: wait, or read nats-server's log lines (RUST_LOG=autovalidate=debug).".into()
            }
            Self::Connect { reason, .. } => reason.advice().into(),
            Self::Refused { login, .. } => match login {
                Login::Anonymous => "Set NATS_USER and NATS_PASSWORD, NATS_TOKEN or NATS_CREDS: the server wants one of them. For a worker's embedded server it is NATS_TOKEN; without one in its settings, the token is in nats/token in its DATA_DIR.",
                Login::Token => "Check NATS_TOKEN, or the token in NATS_URL: it is not the server's.",
                Login::User => "Check NATS_USER and NATS_PASSWORD, or the user in NATS_URL: the server does not know the user, or the password is wrong.",
                Login::Credentials => "Check NATS_CREDS: the server does not know this user, or the credentials have expired or were revoked.",
            }.into(),
            Self::NotPermitted { .. } => {
                "Give this user the permissions that docs/reference/nats.md lists, in the server's settings or with `nsc edit user`.".into()
            }
            Self::Credentials { .. } => "Check that NATS_CREDS names a readable credentials file.".into(),
            Self::JetStreamUnavailable { domain: None, .. } => {
                "Enable JetStream in the server and for this account. If the streams are on other servers, behind a leaf node, set NATS_DOMAIN to the JetStream domain of those.".into()
            }
            Self::JetStreamUnavailable { domain: Some(domain), .. } => {
                format!("Check NATS_DOMAIN: nothing answers in the JetStream domain {domain}. It is the `domain` in the JetStream settings of the servers that store the streams.")
            }
            Self::SetUp { source, .. } if is_out_of_storage(source.as_ref()) => STORAGE_FULL.into(),
            Self::Publish { source, .. } if is_out_of_storage(source) => STORAGE_FULL.into(),
            Self::SetUp { name, .. } => {
                format!("Check the account's permissions and limits, and that nothing else uses the name or the subjects of {name}. NATS_NAMESPACE gives this program names of its own.")
            }
            Self::ForeignStream { name, .. } => {
                format!("Set NATS_NAMESPACE to a name of your own, such as `autovalidate`, on every worker and for commands, or use another NATS account. {name} was left as it is.")
            }
            Self::OtherProject { .. } => {
                "Give this project streams of its own: set NATS_NAMESPACE to another name on all of its workers. If the project has moved from there to here, stop its workers and run `autovalidate adopt` once.".into()
            }
            Self::NewerFormat { .. } => "Upgrade this program to the version that the other workers run.".into(),
            Self::NotSetUp { .. } => {
                "Start `autovalidate worker` once, or check NATS_URL: it must be the server that the worker uses.".into()
            }
            Self::Mismatch { name, setting } => {
                format!("Correct {setting} of {name}, or remove {name} if it is empty: the worker then creates it again.")
            }
            Self::Request { .. } | Self::TimedOut { .. } | Self::Publish { .. } => {
                "Temporary failures of NATS are retried; check the server if they last.".into()
            }
            Self::TooLarge { .. } => {
                "Raise `max_payload` of the NATS server to 64 KiB or more (1 MB is its default), and the limit of the account on the size of a message.".into()
            }
            Self::Conflict { .. } => "Read the record again and repeat the change.".into(),
            Self::Exists { .. } => "Use the existing record.".into(),
            Self::Unreadable { bucket, key, .. } => {
                format!("Read the record with `nats kv get {bucket} {key}`; a newer version of this program may have written it.")
            }
            Self::Encode { .. } => "Report this as a defect.".into(),
            Self::NotReleasable { .. } => {
                "Insert a corrected row into the table, and drop this one from quarantine.".into()
            }
            Self::InvalidTable => "Check SUPABASE_TABLE.".into(),
            Self::UnknownRun { .. } => "`autovalidate runs list` shows all runs.".into(),
            Self::RunEnded { .. } => {
                "Only queued and running runs can be cancelled. Only failed and cancelled runs, and runs that a rollback kept from being published, can be retried. `autovalidate enqueue` starts a new run.".into()
            }
            Self::RunNotEnded { .. } => "Wait until the run has ended, or cancel it first.".into(),
            Self::InvalidJobId(_) => "Use 1 to 64 ASCII letters, digits, `-` and `_`.".into(),
        }
    }
}

/// Advice when the server has no room for a stream or a message.
const STORAGE_FULL: &str = "The broker's storage is full: give the disk of DATA_DIR more room, or raise NATS_MAX_BYTES or the limits of the NATS account. Nothing is lost; the rows are in the table.";

/// Returns true when the server says that its storage is full. The client passes the reason of a
/// refused message on as text only.
fn is_out_of_storage(error: &(dyn Error + 'static)) -> bool {
    let text = crate::failure::chain(error);
    [
        "no space left",
        "insufficient storage",
        "resource limits exceeded",
        "insufficient resources",
        "maximum bytes exceeded",
    ]
    .iter()
    .any(|reason| text.contains(reason))
}

/// Returns true when the client or the server refuses a message for its size. The client passes the
/// server's reason on as text only.
fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    let text = crate::failure::chain(error);
    ["max payload size exceeded", "message size exceeds maximum allowed"]
        .iter()
        .any(|reason| text.contains(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors of a real nats-server on a full disk, and at the limit of its store.
    #[test]
    fn a_full_disk_is_told_apart_from_other_refusals() {
        for (text, full) in [
            (
                "publish failed: write /data/nats/jetstream/1.blk: no space left on device (code 503, error code 10077)",
                true,
            ),
            ("jetstream error: insufficient storage resources available (code 500, error code 10047)", true),
            ("jetstream error: stream name already in use (code 400, error code 10058)", false),
        ] {
            let error = BrokerError::SetUp { name: "CORRECTIONS".into(), source: text.into() };
            assert_eq!(error.advice() == STORAGE_FULL, full, "{text}");
        }
    }
}
