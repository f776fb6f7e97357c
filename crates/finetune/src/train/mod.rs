//! Fine-tuning of one sentence encoder on pairs of texts.
//!
//! The steps are [`ModelFolder::open`](crate::model::ModelFolder::open), tokenization,
//! [`Vocabulary::of`], [`Pairs::new`], [`ParameterBuffer::load`], [`fit()`] and [`export()`].
//! [`fine_tune`](crate::fine_tune()) performs all but the last. `examples/fine_tune.rs` turns a
//! folder and a CSV file of pairs into a new folder. `docs/explanation/engine.md` has the formulas,
//! and the proof that the gradients are exact.
//!
//! Owns batches, the optimizer, the schedule and the training loop. Starts from a model folder and
//! ends with one. Never knows the source of the pairs or the destination of the model, and never
//! touches a network.
//!
//! ```text
//! recipe       settings of a run
//! ranges       allowed ranges of those settings
//! vocabulary   rows of the token table that a run needs, and their compact numbers
//! packed       texts as the arrays that the graphs take
//! padded       indices with which standard operators pad packed texts for attention
//! pairs        tokenized pairs
//! sampler      batches without equal corrections
//! parameters   the flat buffer of trainable numbers: loading, feeding, saving
//! adamw        clipping and AdamW in one pass over the buffer
//! schedule     warm-up and decay of the learning rate
//! encoder      embedding of texts
//! dropout      masks of dropout
//! batch        pairs in the form that the graphs take
//! feed         batches as inputs of the graphs that encode them
//! full_batch   gradients of a batch that is encoded at once
//! grad_cache   gradients of a batch that is encoded in parts
//! gradients    transfer of gradients from the graph to the optimizer
//! step         one optimizer step
//! resident/    steps whose parameters and moments stay on the device
//! fit          the training loop
//! checkpoint/  a run's training state on disk
//! identity/    the digest that ties a checkpoint to its run
//! early_stop   assessments of a run, and its early end
//! resume       checkpoints of a run in progress, and their restoration
//! export       a finished run as a model folder, and a folder as one ONNX file
//! error        the error of training
//! ```

mod adamw;
mod batch;
mod checkpoint;
mod dropout;
mod early_stop;
mod encoder;
mod error;
mod export;
mod feed;
mod fit;
mod full_batch;
mod grad_cache;
mod gradients;
mod identity;
mod packed;
mod padded;
mod pairs;
mod parameters;
pub mod ranges;
mod recipe;
mod resident;
mod resume;
mod sampler;
mod schedule;
mod step;
mod vocabulary;

pub use adamw::{AdamW, Moments, update as adamw_update};
pub use batch::Batch;
pub use checkpoint::{Checkpoint, CheckpointError, Checkpoints, Fingerprint, Interval};
pub use early_stop::{Assessed, Assessment, EarlyStop, Metric};
pub use encoder::Encoder;
pub use error::TrainError;
pub use export::{ONNX_MODEL, embed_exported, export, exported};
pub use fit::{Fit, Observer, PairSource, Progress, Resumable, Summary, fit};
pub use gradients::{Gradient, NamedGradients};
pub use packed::PackedTexts;
pub use pairs::{PairTexts, Pairs};
pub use parameters::ParameterBuffer;
pub use recipe::Recipe;
pub use sampler::batches;
pub use schedule::Schedule;
pub use step::{StepReport, Stepper};
pub use vocabulary::{Vocabulary, token_ids};
