//! A training run, from a job request to a published model.
//!
//! Owns the stages of a run, their order, and what is recorded of them; ties together the queue, the training, the
//! evaluation and the Hub. Never decides when a run starts (that is `trigger`), never listens for pairs.
//!
//! ```text
//! consumer       takes jobs and settles them
//! orchestrator   the whole run, stage after stage: start reading here
//! steps/         one file per stage
//! dataset/       rows, conflicts, summary
//! fine_tune/     a model and a dataset brought together
//! storage/       run folder, snapshots, model cache, checkpoints
//! provenance/    receipt, lineage, replay, rollback
//! pipeline       what a run needs, and how it can end
//! recorder       the run record and the events; the fence between workers
//! watchdog       ends work that must not go on
//! stage          the stages, by name
//! error          why a run fails
//! ```

mod consumer;
mod dataset;
mod error;
mod fine_tune;
mod orchestrator;
mod pipeline;
mod provenance;
mod recorder;
mod stage;
mod steps;
mod storage;
mod watchdog;

pub use crate::broker::ENDED;
pub use consumer::{settle, work};
pub use dataset::{
    Conflicts, Dataset, DatasetSummary, IdRanges, NameList, NameSource, NotIdRanges, RowsFileError, read_rows,
};
pub use error::RunError;
pub use fine_tune::{FineTuneSession, ModelComparison, Scorer, SessionFigures, TrainedModel, TrainingSpec};
pub use pipeline::{AttemptEnding, FinishedRun, Outcome, Pipeline, Plan};
pub use provenance::{
    Ancestor, Blueprint, Lineage, PairLineage, PairUse, RECEIPT, Receipt, Replayed, RollbackError,
    RollbackOf, RolledBack, Sources, replay, roll_back, trace_pair, weights_digest,
};
pub use stage::Stage;
pub use storage::{ModelFinder, ModelOrigin, RowSource};
