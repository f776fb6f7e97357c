//! ONNX graphs that train and run sentence encoders on a stock ONNX Runtime.
//!
//! Owns the construction, differentiation and encoding of graphs, the contents of the artifacts,
//! and the opening of sessions on the runtime. Never reads a model folder, never knows the source
//! of the texts, never touches a network. `docs/explanation/engine.md` has the formulas,
//! `onnx/README.md` every input and output.
//!
//! ```text
//! proto        the part of ONNX's protobuf schema used here
//! form         forms of a graph: standard, fused, factored, resident
//! graph        a graph under construction
//! ops          operators as methods of the graph
//! tape         reverse-mode differentiation
//! layers       linear, layer norm, GELU, residual, products with caller-built matrices, unit rows
//! attention    multi-head self-attention, packed and padded
//! dropout      masks over rows and attention probabilities
//! relative     relative position bias of attention scores
//! pooling      reduction of token rows to one row per text
//! contrastive  the ranking loss
//! names        full names of an encoder's tensors
//! parameter    trainable tensors and the form of their gradients
//! fused        whole layers as single nodes, for the CPU
//! encoder      the encoder of every architecture, built from the layers
//! artifacts    the model files
//! grad_cache   the training graph in two halves, for batches larger than memory
//! device       CPU or GPU
//! privacy      opt-out from ONNX Runtime's telemetry
//! runtime      libonnxruntime: loading the library and opening sessions
//! ```

mod artifacts;
mod attention;
mod contrastive;
mod device;
mod dropout;
mod encoder;
mod form;
mod fused;
mod grad_cache;
mod graph;
mod layers;
mod names;
mod ops;
mod parameter;
mod pooling;
mod privacy;
mod proto;
mod relative;
mod runtime;
mod tape;

pub use artifacts::{
    ArtifactSet, ArtifactSettings, MASKED, Manifest, ResidentNames, dropped_model, eval_model,
    inference_model, optimizer_model, resident_optimizer_model, resident_sum_model, training_model,
};
pub use contrastive::{Loss, Ranking};
pub use device::{Device, NoDevice};
pub use dropout::{DropoutPlace, MaskShape, dropout_places};
pub use form::GraphForm;
pub use grad_cache::{ranking_model, seeded_model};
pub use graph::{Dimension, Element, Graph, Value};
pub use parameter::{GradientForm, Parameter, RowIndex, parameters};
pub use privacy::disable_telemetry;
pub use runtime::{Runtime, RuntimeError};
pub use tape::Tape;
