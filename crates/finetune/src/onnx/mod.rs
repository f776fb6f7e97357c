//! ONNX graphs that train and run sentence encoders on a stock ONNX Runtime.
//!
//! Owns how a graph is written, differentiated and encoded, what the artifacts contain, and how a session of the
//! runtime is opened. Never reads a model folder, never knows where texts come from, never touches a network.
//! `docs/engine.md` has the formulas, `onnx/README.md` every input and output.
//!
//! ```text
//! proto        the part of ONNX's protobuf schema used here
//! form         how a graph is written: standard, fused, factored, resident
//! graph        a graph under construction
//! ops          operators as methods of the graph
//! tape         reverse-mode differentiation
//! layers       linear, layer norm, Gelu, residual, products with caller-built matrices, unit rows
//! attention    multi-head self-attention, packed and padded
//! dropout      masks over rows and attention probabilities
//! relative     the bias that distance adds to attention scores
//! pooling      token rows to one row per text
//! contrastive  the ranking loss
//! names        full names of an encoder's tensors
//! parameter    trainable tensors and the form of their gradients
//! fused        whole layers as single nodes, for the CPU
//! encoder      any of the architectures out of the layers
//! artifacts    the model files
//! cached       the training graph in halves, for batches larger than memory
//! device       CPU or GPU
//! privacy      no reports to the runtime's makers
//! runtime      libonnxruntime: loading it, opening sessions
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
pub use privacy::keep_private;
pub use runtime::{Runtime, RuntimeError};
pub use tape::Tape;
