//! A training run, from a job request to a published model.
//!
//! Owns the stages of a run, their order, and what is recorded of them; ties together the queue, the training, the
//! evaluation and the Hub. Never decides when a run starts (that is `trigger`), never listens for pairs.
//!
//! ```text
//! stage      the stages, by name
//! pipeline   walks them
//! journal    the run record and the events
//! base       load-base: the model a run starts from
//! dataset    fetch-data: rows sorted into what is trained on and what is asked
//! conflict   the same typo corrected to different names: who is right
//! study      train and evaluate: a model and a dataset brought together
//! package    package: folder, zip, proof of the ONNX model
//! receipt    what travels in the zip
//! trainer    takes jobs and settles them
//! ```

mod base;
mod conflict;
mod dataset;
mod error;
mod journal;
mod package;
mod pipeline;
mod receipt;
mod stage;
mod study;
mod trainer;

pub use conflict::Conflicts;
pub use dataset::{Dataset, DatasetSummary};
pub use error::JobError;
pub use journal::ENDED;
pub use pipeline::{Finished, Outcome, Pipeline, Plan};
pub use receipt::{RECEIPT, Receipt};
pub use stage::Stage;
pub use study::{Study, StudyFigures, Trained};
pub use trainer::work;
