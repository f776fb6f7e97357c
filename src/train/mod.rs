//! Fine-tuning one sentence encoder on pairs of texts, on the CPU.
//!
//! Owns batches, the optimiser, the schedule and the loop; starts from a model folder and ends with one. Never
//! knows where pairs come from or where the model goes, never touches a network.
//!
//! ```text
//! recipe       the settings of a run
//! vocabulary   which rows of the token table a run needs, and their compact numbers
//! packed       texts as the arrays the graphs are fed with
//! pairs        tokenised pairs
//! sampler      pairs into batches without equal corrections
//! parameters   the flat buffer of trainable numbers: load, save
//! adamw        clipping and AdamW in one pass over the buffer
//! schedule     warm-up and decay of the learning rate
//! encoder      texts to embeddings
//! step         one optimiser step
//! fit          the loop
//! export       a finished run as a model folder
//! ```

mod adamw;
mod encoder;
mod error;
mod export;
mod fit;
mod packed;
mod pairs;
mod parameters;
mod recipe;
mod sampler;
mod schedule;
mod step;
mod vocabulary;

pub use adamw::{AdamW, Moments, update as adamw_update};
pub use encoder::Encoder;
pub use error::TrainError;
pub use export::{ONNX_MODEL, embed_exported, export};
pub use fit::{Fit, Observer, PairSource, Progress, Summary, fit};
pub use packed::PackedTexts;
pub use pairs::{PairTexts, Pairs};
pub use parameters::ParameterBuffer;
pub use recipe::Recipe;
pub use sampler::batches;
pub use schedule::Schedule;
pub use step::{Batch, StepReport, Stepper};
pub use vocabulary::Vocabulary;
