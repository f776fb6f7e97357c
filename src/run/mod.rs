//! A training run, from a job request to a published model.
//!
//! Owns the stages of a run, their order, and the record of what each stage did. Connects the
//! queue, training, evaluation, and the Hub. Never decides when a run starts: `trigger` does. Never
//! receives pairs: `ingest` does.
//!
//! ```text
//! consumer       the loop that takes jobs off the queue, runs them, and settles them
//! orchestrator   the order of the stages in a run: start reading here
//! endings        what becomes of a run when an attempt ends
//! steps/         the stages, one file each
//! dataset/       rows, conflicts between them, and the summary
//! fine_tune/     training, scoring, and the comparison of models
//! storage/       run folder, snapshots, model cache, checkpoints
//! model_check/   the reading of a model folder in a process of its own, before the trainer reads it
//! provenance/    receipt, lineage, replay, rollback
//! pipeline       resources and settings of runs, and their possible results
//! suggestions    the names nearest to a typo, by the fuzzy matcher and by models
//! recorder       the run record and the events; the fence between workers
//! watchdog       the check that stops work on a cancelled or overtaken run
//! failed_lookup  failed runs whose release is live after all
//! metrics        the numbers of runs, for `/metrics`
//! stage          the names of the stages
//! error          the reasons why a run fails, with advice for the operator
//! ```

mod consumer;
mod dataset;
mod endings;
mod error;
mod failed_lookup;
mod fine_tune;
mod metrics;
mod model_check;
mod orchestrator;
mod pipeline;
mod provenance;
mod recorder;
mod stage;
mod steps;
mod storage;
mod suggestions;
mod watchdog;

pub use crate::broker::ENDED;
pub use consumer::{JobConsumer, settle};
pub use dataset::{
    Conflicts, Dataset, DatasetSummary, FileRows, IdRanges, NameList, NameSource, NotIdRanges, Omitted,
    RECEIPT, RepeatedIds, RowCounts, SlipTexts, TrainingPairs, Untemplated, read_rows,
};
pub use error::RunError;
pub use fine_tune::{
    FineTuneSession, ModelComparison, NameCoverage, Scorer, SessionFigures, TrainedModel, TrainingSpec,
};
pub use metrics::RunMetrics;
pub(crate) use model_check::{CHECK_MODEL, answer};
pub use model_check::{ModelCheck, ModelCheckError, Refusal};
pub use pipeline::{AttemptEnding, FinishedRun, Outcome, Pipeline, RunSettings};
pub use provenance::{
    Ancestor, Lineage, PairLineage, PairUse, ParityProof, Receipt, ReplaySpec, Replayed, RollbackError,
    RollbackOf, RolledBack, Sources, numbers_of, replay, roll_back, trace_pair, weights_digest,
};
pub use stage::Stage;
pub(crate) use storage::blocking;
pub use storage::{ModelFinder, ModelOrigin, RowSource, erase_snapshots, sweep_models};
pub use suggestions::{Suggestion, SuggestionQuery};
