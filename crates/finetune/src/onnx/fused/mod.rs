//! Fused operators: whole layers and their gradients as single nodes of the graph.
//! `autovalidate-kernels` computes them inside ONNX Runtime's own session, on the session's
//! threads.
//!
//! A training graph in standard operators runs anywhere, but spends a quarter of its time moving
//! data between passes of one arithmetic operation each. A fused operator computes a layer in one
//! pass. Fused operators are for the CPU only, and complement the standard graph: the artifacts in
//! `onnx/` stay standard, and tests verify that both graphs have the same gradients.
//!
//! ```text
//! nodes        the operators as methods of `Graph`
//! operators    implementations for the runtime: checks of shapes and calls of the kernels
//! thread_pool  the session's threads as a thread pool for the kernels
//! ```

mod nodes;
mod operators;
mod thread_pool;

/// Domain of the operators in the graph.
pub(super) const DOMAIN: &str = "autovalidate";

pub(super) use operators::{domain, is_fused};
