//! Fine-tuning: trains a model on a dataset, and scores it against its baselines before and after.
//!
//! Owns the training session, the scoring of models on a run's queries, the comparison with the
//! baselines, and the validation set. Never connects to the network or the queue, and never writes
//! the run record: it only computes, and reads and writes the folders that callers pass.
//!
//! ```text
//! session          preparation, training, and export
//! scorer           a model folder that is scored on a run's queries
//! comparison       the trained model against the live and the original one, and the verdict
//! name_coverage    names that the model's tokenizer can't tell apart
//! validation_set   the held-out queries that decide an early stop
//! outline          the summary of a training without the figures whose number grows with its steps
//! ```

mod comparison;
mod name_coverage;
mod outline;
mod scorer;
mod session;
mod validation_set;

pub use comparison::ModelComparison;
pub use name_coverage::NameCoverage;
pub(in crate::run) use outline::training_outline;
pub use scorer::Scorer;
pub(in crate::run) use scorer::{Embedder, embed};
pub use session::{FineTuneSession, SessionFigures, TrainedModel, TrainingSpec};
pub(in crate::run) use validation_set::{ValidationSet, split_validation_set};
