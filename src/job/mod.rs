//! A training run, from a job request to a published model.
//!
//! Owns the stages of a run, their order, and what is recorded of them; ties together the queue, the training, the
//! evaluation and the Hub. Never decides when a run starts (that is `trigger`), never listens for pairs.
//!
//! ```text
//! stage      the stages, by name
//! pipeline   what a run needs, and how it can end
//! walk       walks the stages
//! loading    load-base and fetch-data: what a run starts from
//! judging    evaluate, gate, package
//! journal    the run record and the events; the fence between workers
//! guard      ends work that must not go on
//! workshop   the run's folder, for whoever takes the run up again
//! snapshot   the rows of runs, kept by their hash
//! training   train: on a thread of its own, telling how far it is
//! courier    carries checkpoints to the broker and from it
//! publishing publish: looks before it sends
//! base       finds the model a run starts from
//! dataset    rows sorted into what is trained on and what is asked
//! summary    what went into them, in numbers
//! names      names beside those of the rows, and the lists of them that runs have read
//! conflict   the same typo corrected to different names: who is right
//! study      train and evaluate: a model and a dataset brought together
//! examinee   a model that is asked a run's questions
//! contest    the new model beside the live and the original one, and the verdict
//! steering   early stop: which held-out questions steer a run
//! package    folder, zip, proof of the ONNX model
//! rows_file  rows from a file, for a run without a queue
//! receipt    what travels in the zip
//! lineage    what decides a model's weights
//! id_ranges  a set of row ids, short to write down
//! replay     makes a run's model again and compares
//! rollback   makes an older version live again
//! descent    which versions descend from a pair
//! trainer    takes jobs and settles them
//! ```

mod base;
mod conflict;
mod contest;
mod courier;
mod dataset;
mod descent;
mod error;
mod examinee;
mod guard;
mod id_ranges;
mod journal;
mod judging;
mod lineage;
mod loading;
mod names;
mod package;
mod pipeline;
mod publishing;
mod receipt;
mod replay;
mod rollback;
mod rows_file;
mod snapshot;
mod stage;
mod steering;
mod study;
mod summary;
mod trainer;
mod training;
mod walk;
mod workshop;

pub use crate::queue::ENDED;
pub use base::ModelFinder;
pub use base::Origin;
pub use conflict::Conflicts;
pub use contest::Baselines;
pub use dataset::Dataset;
pub use descent::{Descent, PairUse, trace};
pub use error::JobError;
pub use examinee::Examinee;
pub use id_ranges::{IdRanges, NotIdRanges};
pub use lineage::{Ancestor, Lineage, weights_digest};
pub use names::{NameList, NameSource};
pub use pipeline::{Ending, Finished, Outcome, Pipeline, Plan};
pub use receipt::{RECEIPT, Receipt, RollbackOf};
pub use replay::{Blueprint, Replayed, Sources, replay};
pub use rollback::{RollbackError, RolledBack, roll_back};
pub use rows_file::{RowsFileError, read_rows};
pub use snapshot::RowSource;
pub use stage::Stage;
pub use study::{Lecture, Study, StudyFigures, Trained};
pub use summary::DatasetSummary;
pub use trainer::{settle, work};
