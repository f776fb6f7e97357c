//! Why a run fails.

use std::path::PathBuf;

use crate::broker::QueueError;
use crate::evaluate::EvaluateError;
use crate::failure::{Failure, RetryDirective};
use crate::hub::HubError;
use autovalidate_finetune::model::ModelError;
use autovalidate_finetune::model::archive::ArchiveError;
use autovalidate_finetune::train::TrainError;

use crate::run::dataset::NameList;

/// Why a run fails.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The broker.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The Hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The base model's folder.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A zip.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file of rows.
    #[error(transparent)]
    RowsFile(#[from] crate::run::dataset::RowsFileError),
    /// The library to compute with.
    #[error(transparent)]
    Runtime(#[from] autovalidate_finetune::onnx::RuntimeError),
    /// Training or encoding.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The names that `CATALOG` says.
    #[error(transparent)]
    Names(#[from] crate::ingest::CatalogError),
    /// The settings of the made-up typos.
    #[error(transparent)]
    Synthesis(#[from] crate::synthesis::SettingsError),
    /// Scoring.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError<TrainError>),
    /// A file or folder of the run.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The base model is neither a folder nor a Hub name.
    #[error("there is no model {name:?}: it is neither a release, nor a folder, nor a name like owner/name")]
    NoSuchModel {
        /// What was asked for.
        name: String,
    },
    /// No release name sorts after those that are there.
    #[error("the repository has a release whose name sorts after every date")]
    NoNewerName,
    /// The exported ONNX model doesn't embed as the trained one does.
    #[error("the exported ONNX model's embeddings differ from the trained model's: lowest cosine {cosine}")]
    Parity {
        /// Lowest cosine over the compared texts.
        cosine: f32,
    },
    /// The computing thread panicked: a defect of ours or of the runtime.
    #[error("the computation ended unexpectedly")]
    Crashed(#[source] tokio::task::JoinError),
    /// The worker is stopping; the job goes back to the queue.
    #[error("the worker is stopping")]
    Stopping,
    /// A person cancelled the run.
    #[error("the run is cancelled")]
    Cancelled,
    /// Another worker has taken the run up.
    #[error("another worker has the run")]
    Overtaken,
    /// Attempts ended without a word: killed, or out of memory.
    #[error("{attempts} attempts failed or ended without a word")]
    DiedTooOften {
        /// How many.
        attempts: u64,
    },
    /// Nothing says how the run was made.
    #[error(
        "nothing tells how this was made: the run got no further, or an earlier version of the trainer made it"
    )]
    NotReplayable,
    /// The base model has other weights by now.
    #[error("the base model {name} has other weights than the run started from")]
    OtherBase {
        /// What the run calls it.
        name: String,
    },
    /// The rows of the run are not to be had any more.
    #[error(
        "the rows the run learned from can't be had any more: its snapshot is gone, and the {found} rows that the stream \
         has up to there are not the {rows} it read"
    )]
    OtherRows {
        /// Rows the run read.
        rows: usize,
        /// Rows that the stream has up to the run's last one.
        found: usize,
    },
    /// The names of `CATALOG` that the run used are not to be had any more.
    #[error("the {} names that CATALOG had for the run are gone: neither {} nor CATALOG has them", .list.count, .path.display())]
    OtherNames {
        /// The list.
        list: NameList,
        /// Where it would be kept.
        path: PathBuf,
    },
    /// The base model is neither on this disk nor to be fetched.
    #[error("the base model {name} is not on this disk, and HF_REPO is not set")]
    NoHub {
        /// What the run calls it.
        name: String,
    },
    /// The rows are not on this disk, and there is no broker to ask.
    #[error("the snapshot {} is gone, and there is no stream to read the rows from", path.display())]
    NoStream {
        /// Where it would be.
        path: PathBuf,
    },
    /// A person made an older version live again meanwhile.
    #[error(
        "version {version} was made live again, as {live}, while the run was under way: it is not published on top"
    )]
    RolledBack {
        /// The run.
        job: String,
        /// The version that was made live again.
        version: String,
        /// Its new name.
        live: String,
    },
    /// The zip that was just made is gone or damaged.
    #[error("the finished zip is gone or damaged")]
    PackageLost,
}

impl RunError {
    /// For `map_err`: `action` on `path` failed.
    pub(in crate::run) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// Whether work ended because it must not go on, through nobody's fault.
    pub(in crate::run) fn is_interruption(&self) -> bool {
        matches!(self, Self::Stopping | Self::Cancelled | Self::Overtaken)
    }

    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Queue(error) => Some(error),
            Self::Hub(error) => Some(error),
            Self::Model(error) => Some(error),
            Self::Archive(error) => Some(error),
            Self::RowsFile(error) => Some(error),
            Self::Runtime(error) => Some(error),
            Self::Train(error) => Some(error),
            Self::Evaluate(error) => Some(error),
            Self::Synthesis(error) => Some(error),
            Self::Names(error) => Some(error),
            Self::File { .. }
            | Self::NoSuchModel { .. }
            | Self::NoNewerName
            | Self::Parity { .. }
            | Self::Crashed(_)
            | Self::Stopping
            | Self::Cancelled
            | Self::Overtaken
            | Self::DiedTooOften { .. }
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
}

impl Failure for RunError {
    fn directive(&self) -> RetryDirective {
        match self.inner() {
            Some(inner) => inner.directive(),
            None => match self {
                Self::Stopping | Self::Overtaken | Self::PackageLost => RetryDirective::Retry,
                Self::File { .. }
                | Self::NoSuchModel { .. }
                | Self::NoNewerName
                | Self::OtherBase { .. }
                | Self::RolledBack { .. }
                | Self::OtherNames { .. }
                | Self::NoHub { .. }
                | Self::NoStream { .. }
                | Self::DiedTooOften { .. } => RetryDirective::Person,
                _ => RetryDirective::Never,
            },
        }
    }

    fn advice(&self) -> String {
        match self.inner() {
            Some(inner) => inner.advice(),
            None => match self {
                Self::Stopping => "Nothing to do: the job is taken up again when a worker runs.".to_owned(),
                Self::Overtaken => "Nothing to do: the other worker goes on with it.".to_owned(),
                Self::Cancelled => "Nothing to do; `autovalidate runs retry` takes it up again.".to_owned(),
                Self::PackageLost => "Check that nothing else writes into DATA_DIR.".to_owned(),
                Self::DiedTooOften { .. } => {
                    "Look for an end by the system, such as out of memory, then `autovalidate runs retry`."
                        .to_owned()
                }
                Self::File { .. } => "Check that DATA_DIR is writable and that its disk has room.".to_owned(),
                Self::NoSuchModel { .. } => {
                    "Set BASE_MODEL, or the request's base_model, to one of these.".to_owned()
                }
                Self::NotReplayable => "Nothing to do: train anew with `autovalidate enqueue`.".to_owned(),
                Self::OtherBase { .. } => {
                    "Set BASE_MODEL to the folder the run started from, or bring that version back to the Hub.".to_owned()
                }
                Self::OtherRows { .. } => {
                    "Run it where the run's DATA_DIR is, or on the broker that has all its pairs.".to_owned()
                }
                Self::OtherNames { list, .. } => format!(
                    "Bring names/{}.jsonl here from the DATA_DIR of the worker that made the run, or set CATALOG to \
                     the file it had then.",
                    list.sha256
                ),
                Self::NoHub { .. } => "Set HF_REPO, and HF_TOKEN if it is private.".to_owned(),
                Self::NoStream { .. } => {
                    "Run it where the run's DATA_DIR is, or set NATS_URL to the broker that has its pairs.".to_owned()
                }
                Self::RolledBack { job, .. } => format!(
                    "Nothing, if it should stay unpublished. `autovalidate runs retry {job}` publishes it after all, if \
                     the gate lets it through beside what is live then."
                ),
                Self::NoNewerName => "Remove the file under models/ that is named wrongly.".to_owned(),
                _ => "This is a defect; report it with the run record.".to_owned(),
            },
        }
    }
}
