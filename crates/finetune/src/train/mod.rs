//! Fine-tuning one sentence encoder on pairs of texts, on the CPU.
//!
//! With `model` (folders) and `onnx` (graphs) this reads as a library of its own: `examples/fine_tune.rs` takes a folder
//! and a CSV file of pairs to a new folder with nothing else, and `docs/engine.md` has the formulas and how their
//! exactness is proved. In short: [`ModelFolder::open`](crate::model::ModelFolder::open), tokenize, [`Vocabulary::of`],
//! [`Pairs::new`], [`ParameterBuffer::load`], [`fit()`], [`export()`].
//!
//! Owns batches, the optimizer, the schedule and the loop; starts from a model folder and ends with one. Never
//! knows where pairs come from or where the model goes, never touches a network.
//!
//! ```text
//! recipe       the settings of a run
//! vocabulary   which rows of the token table a run needs, and their compact numbers
//! packed       texts as the arrays the graphs are fed with
//! padded       the indices by which standard operators pad them for attention
//! pairs        tokenized pairs
//! sampler      pairs into batches without equal corrections
//! parameters   the flat buffer of trainable numbers: load, save
//! adamw        clipping and AdamW in one pass over the buffer
//! schedule     warm-up and decay of the learning rate
//! encoder      texts to embeddings
//! dropout      the masks of dropout
//! batch        pairs as the graphs are fed with them
//! feed         batches as inputs of the graphs that encode them
//! whole        gradients of a batch that is encoded at once
//! cached       the same in parts
//! gradients    between the graph and the optimizer
//! step         one optimizer step
//! resident/    the same where parameters and moments stay on the device
//! fit          the loop
//! checkpoint/  where a run stands, on disk
//! identity/    the digest that says which run a checkpoint belongs to
//! early        when a run is assessed, and ends early
//! resume       keeps checkpoints while a run goes, finds where to go on
//! export       a finished run as a model folder, and a folder as one ONNX file
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
pub use recipe::{MOST_HARD_NEGATIVES, Recipe};
pub use sampler::batches;
pub use schedule::Schedule;
pub use step::{StepReport, Stepper};
pub use vocabulary::Vocabulary;
