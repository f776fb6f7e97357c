//! Errors of a run: the kinds, the retry directive of each, and the advice for the operator.

use std::io::ErrorKind;
use std::path::PathBuf;

use autovalidate_finetune::model::ModelError;
use autovalidate_finetune::model::archive::ArchiveError;
use autovalidate_finetune::onnx::RuntimeError;
use autovalidate_finetune::train::TrainError;
use tokio::task::JoinError;

use crate::broker::BrokerError;
use crate::evaluate::EvaluateError;
use crate::failure::{Failure, RetryDirective, panic_message};
use crate::hub::HubError;
use crate::ingest::CatalogError;

use super::dataset::NameList;
use super::model_check::ModelCheckError;
use crate::table_file::TableFileError;

/// Error of a run, or of a command that performs parts of one.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The broker failed or refused.
    #[error(transparent)]
    Queue(#[from] BrokerError),
    /// The Hub failed or refused.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A model folder can't be read, trained or written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The process that reads a model folder first has refused it, or has not survived it.
    #[error(transparent)]
    ModelCheck(#[from] ModelCheckError),
    /// A zip can't be read or written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file of rows can't be read.
    #[error(transparent)]
    RowsFile(#[from] TableFileError),
    /// The ONNX Runtime can't be loaded.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Training or encoding failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The names that `CATALOG` points to can't be read.
    #[error(transparent)]
    Names(#[from] CatalogError),
    /// A setting of the synthetic typos is out of range.
    #[error(transparent)]
    Synthesis(#[from] crate::synthesis::SynthesisError),
    /// Scoring failed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError<TrainError>),
    /// A file or folder of the run can't be read, written or removed.
    #[error("cannot {action} {}", path.display())]
    File {
        /// The attempted action, such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The requested model is neither a release, nor a folder, nor a Hub name.
    #[error("there is no model {name:?}: it is neither a release, nor a folder, nor a name like owner/name")]
    NoSuchModel {
        /// Requested name.
        name: String,
    },
    /// A job request names a folder that the settings don't allow.
    #[error(
        "the job request's base_model is the folder {name}, which is not below one of BASE_MODEL_FOLDERS"
    )]
    FolderNotAllowed {
        /// Requested folder.
        name: String,
    },
    /// The Hub does not give the base model, and it is not on this disk.
    #[error("{}: the Hub doesn't give the model {name}", setting.name())]
    BaseModel {
        /// Place of the name.
        setting: BaseSetting,
        /// Hub name of the model.
        name: String,
        /// Error of the Hub.
        source: HubError,
    },
    /// No new release name would sort after the names in the repository.
    #[error("the repository has a release whose name sorts after every date")]
    NoNewerName,
    /// The exported ONNX model's embeddings differ from the trained model's.
    #[error("the exported ONNX model's embeddings differ from the trained model's: lowest cosine {cosine}")]
    Parity {
        /// Lowest cosine over the compared texts.
        cosine: f32,
    },
    /// The exported folder's tokenizer gives other ids than the trained model's.
    #[error("the exported model's tokenizer gives a text other ids than the trained model's")]
    OtherTokens,
    /// The computing thread panicked: a bug in this program or in the ONNX Runtime.
    #[error("the computation panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The worker is stopping; the job goes back to the queue.
    #[error("the worker is stopping")]
    Stopping,
    /// A person cancelled the run.
    #[error("the run is cancelled")]
    Cancelled,
    /// Another worker has taken up the run.
    #[error("another worker has taken up the run")]
    Overtaken,
    /// Too many attempts failed, or ended without recording an error: killed, or out of memory.
    #[error(
        "{attempts} attempts failed, or ended without recording an error{}",
        last.as_ref().map_or(String::new(), |last| format!("; the last recorded error: {last}"))
    )]
    TooManyAttempts {
        /// Number of attempts.
        attempts: u64,
        /// Message of the last error that an attempt has recorded.
        last: Option<String>,
    },
    /// Neither the record nor the receipt says how the model was trained.
    #[error(
        "nothing records how this model was trained: the run ended before its data was fetched, or an earlier \
         version of the trainer made the model"
    )]
    NotReplayable,
    /// The base model no longer has the weights that the run started from.
    #[error("the base model {name} no longer has the weights that the run started from")]
    OtherBase {
        /// Name of the base model in the run's record.
        name: String,
    },
    /// The rows of the run no longer exist.
    #[error(
        "the rows that the run was trained on no longer exist: its snapshot is gone, and the {found} rows on the \
         stream up to the run's last sequence are not the {rows} rows that the run read"
    )]
    OtherRows {
        /// Number of rows that the run read.
        rows: usize,
        /// Number of rows on the stream up to the run's last sequence.
        found: usize,
    },
    /// The names that the run read from `CATALOG` no longer exist.
    #[error("the {} names that the run read from CATALOG are gone: neither {} nor CATALOG has them", .list.count, .path.display())]
    OtherNames {
        /// Count and hash of the names.
        list: NameList,
        /// Path at which the list was looked for.
        path: PathBuf,
    },
    /// The base model is not on this disk, and no repository is set to fetch it from.
    #[error("the base model {name} is not on this disk, and HF_REPO is not set")]
    NoHub {
        /// Name of the base model in the run's record.
        name: String,
    },
    /// The rows are not on this disk, and there is no broker to read them from.
    #[error("the snapshot {} is not on this disk, and there is no broker to read the rows from", path.display())]
    NoStream {
        /// Path at which the snapshot was looked for.
        path: PathBuf,
    },
    /// A person made an older version live again while the run was under way.
    #[error(
        "a rollback made version {version} live again, as {live}, while the run was under way: the run's model is \
         not published on top of it"
    )]
    RolledBack {
        /// Id of the run's job.
        job: String,
        /// The version that was made live again.
        version: String,
        /// The new name of that version.
        live: String,
    },
    /// The zip that was just packaged is missing or damaged.
    #[error("the finished zip is missing or damaged")]
    PackageLost,
}

/// Place that the name of a base model comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseSetting {
    /// The setting `BASE_MODEL`.
    BaseModel,
    /// The job request's `base_model`.
    Request,
}

impl BaseSetting {
    /// Returns the name that people know the place by.
    pub fn name(self) -> &'static str {
        match self {
            Self::BaseModel => "BASE_MODEL",
            Self::Request => "base_model of the job request",
        }
    }
}

/// Reason to stop work on a run, other than a failure of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Interruption {
    /// The worker is stopping.
    Stopping,
    /// A person cancelled the run.
    Cancelled,
    /// Another worker has taken up the run.
    Overtaken,
}

impl RunError {
    /// Returns a function for `map_err` that adds the failed `action` and its `path`.
    pub(in crate::run) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// Converts the error of a computing thread that ended without a result, for `map_err`.
    pub(in crate::run) fn panicked(error: JoinError) -> Self {
        Self::Panicked { message: panic_message(error) }
    }

    /// Returns the interruption behind this error, or `None` when the error is a failure.
    pub(in crate::run) fn interruption(&self) -> Option<Interruption> {
        match self {
            Self::Stopping => Some(Interruption::Stopping),
            Self::Cancelled => Some(Interruption::Cancelled),
            Self::Overtaken => Some(Interruption::Overtaken),
            Self::Queue(_)
            | Self::Hub(_)
            | Self::Model(_)
            | Self::ModelCheck(_)
            | Self::Archive(_)
            | Self::RowsFile(_)
            | Self::Runtime(_)
            | Self::Train(_)
            | Self::Names(_)
            | Self::Synthesis(_)
            | Self::Evaluate(_)
            | Self::File { .. }
            | Self::NoSuchModel { .. }
            | Self::FolderNotAllowed { .. }
            | Self::BaseModel { .. }
            | Self::NoNewerName
            | Self::Parity { .. }
            | Self::OtherTokens
            | Self::Panicked { .. }
            | Self::TooManyAttempts { .. }
            | Self::NotReplayable
            | Self::OtherBase { .. }
            | Self::OtherRows { .. }
            | Self::OtherNames { .. }
            | Self::NoHub { .. }
            | Self::NoStream { .. }
            | Self::RolledBack { .. }
            | Self::PackageLost => None,
        }
    }

    /// Returns true when a zip or the model in it is at fault, and not the Hub, the disk, the network or
    /// the runtime.
    pub(in crate::run) fn is_of_model(&self) -> bool {
        match self {
            Self::Archive(error) => error.directive() == RetryDirective::Never,
            Self::ModelCheck(error) => error.is_of_model(),
            Self::Model(error) | Self::Train(TrainError::Model(error)) => match error {
                ModelError::File { source, .. } => matches!(
                    source.kind(),
                    ErrorKind::NotFound | ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                ),
                _ => true,
            },
            _ => false,
        }
    }

    /// Returns true when a person may have to act, and the trouble may also pass by itself: a Hub that
    /// restarts refuses a good token for a moment, a bad connection garbles an index, and a full disk has
    /// room again when others are done.
    pub(in crate::run) fn may_pass(&self) -> bool {
        let is_doubtful = match self {
            Self::Hub(error) | Self::BaseModel { source: error, .. } => {
                matches!(error, HubError::Unauthorized { .. } | HubError::Forbidden { .. } | HubError::Index)
            }
            _ => false,
        };
        let mut causes = std::iter::successors(Some(self as &dyn std::error::Error), |error| error.source());
        let is_full = |error: &std::io::Error| {
            matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        };
        is_doubtful || causes.any(|error| error.downcast_ref().is_some_and(is_full))
    }

    /// True when the model is finished and stored, and a person decides whether to publish it.
    pub(in crate::run) fn needs_decision(&self) -> bool {
        matches!(self, Self::RolledBack { .. })
    }
}

/// Returns the advice for a base model that the Hub doesn't give.
fn base_advice(setting: BaseSetting, name: &str, source: &HubError) -> String {
    let setting = setting.name();
    match source {
        HubError::Unauthorized { .. } => {
            format!("Set HF_TOKEN to a valid token, or {setting} to a model that everyone may read.")
        }
        HubError::Forbidden { .. } => {
            format!("Let HF_TOKEN read {name}, or set {setting} to another model.")
        }
        HubError::Gated { .. } => format!(
            "Accept the conditions of {name} on its page, with the account of HF_TOKEN, or set {setting} to another \
             model."
        ),
        HubError::NoRepository { .. } => format!(
            "Set {setting} to a model that exists, or HF_TOKEN to a token that may read {name} if it is private."
        ),
        HubError::NoFile { .. } => {
            format!("Set {setting} to a sentence-transformers model: {name} lacks a file of one.")
        }
        other => other.advice(),
    }
}

impl From<Interruption> for RunError {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::Stopping => Self::Stopping,
            Interruption::Cancelled => Self::Cancelled,
            Interruption::Overtaken => Self::Overtaken,
        }
    }
}

impl Failure for RunError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Queue(error) => error.directive(),
            Self::Hub(error) | Self::BaseModel { source: error, .. } => error.directive(),
            Self::Model(error) => error.directive(),
            Self::ModelCheck(error) => error.directive(),
            Self::Archive(error) => error.directive(),
            Self::RowsFile(error) => error.directive(),
            Self::Runtime(error) => error.directive(),
            Self::Train(error) => error.directive(),
            Self::Names(error) => error.directive(),
            Self::Synthesis(error) => error.directive(),
            Self::Evaluate(error) => error.directive(),
            Self::Stopping | Self::Overtaken | Self::PackageLost => RetryDirective::Retry,
            Self::File { .. }
            | Self::NoSuchModel { .. }
            | Self::FolderNotAllowed { .. }
            | Self::NoNewerName
            | Self::OtherBase { .. }
            | Self::RolledBack { .. }
            | Self::OtherNames { .. }
            | Self::NoHub { .. }
            | Self::NoStream { .. }
            | Self::TooManyAttempts { .. } => RetryDirective::Person,
            Self::Cancelled
            | Self::Parity { .. }
            | Self::OtherTokens
            | Self::Panicked { .. }
            | Self::NotReplayable
            | Self::OtherRows { .. } => RetryDirective::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Queue(error) => return error.advice(),
            Self::Hub(error) => return error.advice(),
            Self::Model(error) => return error.advice(),
            Self::ModelCheck(error) => return error.advice(),
            Self::Archive(error) => return error.advice(),
            Self::RowsFile(error) => return error.advice(),
            Self::Runtime(error) => return error.advice(),
            Self::Train(error) => return error.advice(),
            Self::Names(error) => return error.advice(),
            Self::Synthesis(error) => return error.advice(),
            Self::Evaluate(error) => return error.advice(),
            Self::BaseModel { setting, name, source } => return base_advice(*setting, name, source),
            Self::OtherNames { list, .. } => {
                return format!(
                    "Copy names/{}.jsonl into this DATA_DIR from that of the worker that performed the run, or set \
                     CATALOG to the file that the worker used.",
                    list.sha256
                );
            }
            Self::RolledBack { job, .. } => {
                return format!(
                    "Nothing to do if the model should stay unpublished. Otherwise run `autovalidate runs retry \
                     {job}`: it publishes the model if the gate accepts it against the model that is live then."
                );
            }
            Self::Stopping => "Nothing to do: a worker will take up the job again.",
            Self::Overtaken => "Nothing to do: the other worker continues the run.",
            Self::Cancelled => "Nothing to do. `autovalidate runs retry` starts the run again.",
            Self::PackageLost => "Check that nothing else writes into DATA_DIR.",
            Self::TooManyAttempts { .. } => {
                "Find out why the attempts ended, such as lack of memory; then run `autovalidate runs retry`."
            }
            Self::File { .. } => "Check that DATA_DIR is writable and that its disk has free space.",
            Self::NoSuchModel { .. } => {
                "Set BASE_MODEL to a folder or a Hub name, or base_model in the job request to a release or a Hub name."
            },
            Self::FolderNotAllowed { .. } => {
                "Name a release or a Hub model in the request, or set BASE_MODEL_FOLDERS to a folder that holds the \
                 model, where only trusted people can write."
            }
            Self::NotReplayable => "Train a new model with `autovalidate enqueue`: this one cannot be replayed.",
            Self::OtherBase { .. } => {
                "Set BASE_MODEL to the folder that the run started from, or restore that version on the Hub."
            }
            Self::OtherRows { .. } => {
                "Replay the run where its DATA_DIR is, or with the broker that has all its pairs."
            }
            Self::NoHub { .. } => "Set HF_REPO, and HF_TOKEN if the repository is private.",
            Self::NoStream { .. } => {
                "Replay the run where its DATA_DIR is, or set NATS_URL to the broker that has its pairs."
            }
            Self::NoNewerName => "Remove the wrongly named file below models/ in the repository.",
            Self::Parity { .. } | Self::OtherTokens | Self::Panicked { .. } => {
                "This is a bug: report it together with the run's record."
            }
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_may_pass_wherever_it_was_met_and_a_missing_file_may_not() {
        let met = |kind: ErrorKind| {
            let path = PathBuf::from("file");
            let source = || io::Error::from(kind);
            [
                RunError::File { action: "write", path: path.clone(), source: source() },
                RunError::from(ModelError::File { action: "write", path: path.clone(), source: source() }),
                RunError::from(ArchiveError::Io { action: "writing", path, source: source() }),
            ]
        };
        assert!(met(ErrorKind::StorageFull).iter().all(RunError::may_pass));
        assert!(met(ErrorKind::QuotaExceeded).iter().all(RunError::may_pass));
        assert!(!met(ErrorKind::NotFound).iter().any(RunError::may_pass));
    }
}
