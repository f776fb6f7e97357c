//! Resources and settings that runs need, and the possible results of a run. The order of the
//! stages is in `orchestrator`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::{CheckpointStore, Clock, Events, PublishedArtifact, RunState, Runs};
use crate::corrections::Corrections;
use crate::evaluate::{GatePolicy, HoldOut};
use crate::hub::Repository;
use crate::synthesis::SynthesisSettings;
use crate::templates::Templates;
use autovalidate_finetune::model::TokenizerChoice;
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::Recipe;

use crate::run::dataset::NameSource;
use crate::run::metrics::RunMetrics;
use crate::run::model_check::ModelCheck;

/// Everything that runs need besides the job.
pub struct Pipeline {
    /// ONNX Runtime that trains and scores.
    pub runtime: Runtime,
    /// Model repository on the Hub: the source of base models and the target of releases.
    pub repository: Repository,
    /// The stream of pairs.
    pub corrections: Corrections,
    /// The run records.
    pub runs: Runs,
    /// Publisher of run events.
    pub events: Events,
    /// Store for checkpoints on the broker, for workers that don't share this disk. `None` when
    /// checkpoints stay on this disk.
    pub checkpoints: Option<CheckpointStore>,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Settings of every run.
    pub plan: RunSettings,
    /// Numbers of the runs of this process.
    pub metrics: RunMetrics,
}

/// Settings of every run.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Tokens to train on.
    pub tokenizer: TokenizerChoice,
    /// Training recipe. A job request may override some of its values.
    pub recipe: Recipe,
    /// Settings of the synthetic typos.
    pub synthesis: SynthesisSettings,
    /// Shares of pairs that are held out.
    pub hold_out: HoldOut,
    /// Templates that render a text as model input.
    pub templates: Templates,
    /// Source of names besides those of the rows (`CATALOG`).
    pub names: Option<NameSource>,
    /// Rules of the gate.
    pub gate: GatePolicy,
    /// Folder or Hub name of the model to start from when nothing has been released.
    pub base_model: String,
    /// Folders below which a job request may name a base model.
    pub base_model_folders: Vec<PathBuf>,
    /// Reader that tries each model in a process of its own.
    pub model_check: ModelCheck,
    /// Folder below which runs keep their files (`DATA_DIR`).
    pub data_dir: PathBuf,
    /// Number of bytes that replaceable files in that folder may take (`DATA_BUDGET`).
    pub data_budget: u64,
    /// Time between two checkpoints: the most training time that is lost when a worker dies.
    /// Writing a checkpoint takes a second or two at most.
    pub checkpoint_every: Duration,
    /// True when a repository that the worker creates is private.
    pub private_repository: bool,
}

/// Result of a run that ended without an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The model was published.
    Published(PublishedArtifact),
    /// The model was not published: the gate refused it, or a rollback during the run left the
    /// decision to a person.
    Withheld,
    /// Everything but publishing was done, as requested.
    DryRun,
}

/// A run that ended without an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedRun {
    /// Result of the run.
    pub outcome: Outcome,
    /// Stream sequence of the last message that the run's data covers.
    pub covered: u64,
}

impl FinishedRun {
    pub(in crate::run) fn state(&self) -> RunState {
        match self.outcome {
            Outcome::Published(_) | Outcome::DryRun => RunState::Done,
            Outcome::Withheld => RunState::Refused,
        }
    }
}

/// State in which an attempt leaves its run.
#[derive(Debug)]
pub enum AttemptEnding {
    /// The run ended without an error.
    Finished(FinishedRun),
    /// The run ended without a result: it was given up or cancelled. The record has the reason.
    Closed(RunState),
    /// The run is to be tried again.
    Retry {
        /// Number of failed attempts so far; 0 when the worker is merely stopping.
        failures: u64,
    },
    /// Another worker has taken up the run.
    Overtaken,
}
