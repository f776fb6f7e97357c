//! A model and a dataset brought together: training, and what the model knows before and after. Computes, and nothing else.
//!
//! ```text
//! session          prepares, trains and exports
//! scorer           a model that is asked a run's queries
//! comparison       the trained model beside the live and the original one, and the verdict
//! validation_set   the held-out queries that decide an early stop
//! ```

mod comparison;
mod scorer;
mod session;
mod validation_set;

pub use comparison::ModelComparison;
pub use scorer::Scorer;
pub(in crate::run) use scorer::{Embedder, embed};
pub use session::{FineTuneSession, SessionFigures, TrainedModel, TrainingSpec};
pub(in crate::run) use validation_set::{ValidationSet, split_validation_set};
