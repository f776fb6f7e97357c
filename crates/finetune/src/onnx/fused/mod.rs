//! Fused operators: whole layers and their gradients as single nodes of the graph, computed by `autovalidate-kernels`
//! inside ONNX Runtime's own session, on its own threads.
//!
//! A training graph in standard operators runs anywhere, but spends a quarter of its time moving numbers between passes
//! of one arithmetic operation each. These operators make one pass of each layer. They are for the CPU, beside the
//! standard graph and not instead of it: the artifacts in `onnx/` stay standard, and tests hold both to the same
//! gradients.
//!
//! ```text
//! nodes      the operators as methods of `Graph`
//! operators  what the runtime calls: shapes checked, slices handed to the kernels
//! pool       the runtime's threads as the kernels see them
//! ```

mod nodes;
mod operators;
mod thread_pool;

/// The operators' domain in the graph.
pub(super) const DOMAIN: &str = "autovalidate";

pub(super) use operators::{domain, is_fused};
