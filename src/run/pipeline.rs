//! What a run needs, and how it can end. The walk through its stages is in `walk`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::{CheckpointStore, Clock, Events, PublishedArtifact, RunState, Runs};
use crate::correction::Templates;
use crate::corrections::Corrections;
use crate::evaluate::{GatePolicy, HoldOut};
use crate::hub::Repository;
use crate::synthesis::SynthesisSettings;
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::Recipe;

use crate::run::dataset::NameSource;

/// What a run needs beside the job.
pub struct Pipeline {
    /// The runtime to compute with.
    pub runtime: Runtime,
    /// Where models come from and go.
    pub repository: Repository,
    /// The pairs.
    pub corrections: Corrections,
    /// Run records.
    pub runs: Runs,
    /// Events.
    pub events: Events,
    /// Where checkpoints go beside this disk, for trainers that don't share it.
    pub checkpoints: Option<CheckpointStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How runs are done.
    pub plan: Plan,
}

/// How runs are done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The recipe, where a request doesn't say otherwise.
    pub recipe: Recipe,
    /// How typos are made up.
    pub synthesis: SynthesisSettings,
    /// What is held out.
    pub hold_out: HoldOut,
    /// What the model sees of a text.
    pub templates: Templates,
    /// Names beside those of the rows.
    pub names: Option<NameSource>,
    /// How the gate judges.
    pub gate: GatePolicy,
    /// Folder or Hub name of the model to start from when nothing has been released.
    pub base_model: String,
    /// Where runs keep their files.
    pub data_dir: PathBuf,
    /// How much training a worker that dies may lose. Writing a checkpoint takes a second or two at most.
    pub checkpoint_every: Duration,
    /// Whether a repository made by us is private.
    pub private_repository: bool,
}

/// How a run ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The model was published.
    Published(PublishedArtifact),
    /// The gate kept the model back.
    KeptBack,
    /// Everything but publishing was done, as asked.
    DryRun,
}

/// A run that ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedRun {
    /// How.
    pub outcome: Outcome,
    /// The last message of the stream that was trained on.
    pub covered: u64,
}

impl FinishedRun {
    pub(in crate::run) fn state(&self) -> RunState {
        match self.outcome {
            Outcome::Published(_) | Outcome::DryRun => RunState::Done,
            Outcome::KeptBack => RunState::Refused,
        }
    }
}

/// Where a run stands when a worker lets go of it.
#[derive(Debug)]
pub enum AttemptEnding {
    /// It ended well.
    Finished(FinishedRun),
    /// It ended without a result: given up or cancelled. The record says why.
    Closed(RunState),
    /// It is to be tried again, after this many failures.
    Again {
        /// Failed attempts so far; 0 when the worker is merely stopping.
        failures: u64,
    },
    /// Another worker has it.
    Overtaken,
}
