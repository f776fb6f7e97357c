//! Numeric kernels that train a sentence encoder on a CPU, with one fused pass per layer.
//!
//! Owns the loops over slices of floats, their compilation for each vector width, and the division
//! of their work among threads. Knows no graph, no runtime and no model: shapes come in as lengths,
//! threads as a [`ThreadPool`].
//!
//! ```text
//! thread_pool  division of work among threads
//! width        one function body, compiled for every vector width
//! math         exp and the normal distribution, without branches
//! product      matrix products of a linear layer, forward and backward
//! transpose    rows written as columns, for attention and for products with a weight
//! factors      gradient of a linear layer's weight, as its two factors
//! gelu         GELU activation and its gradient
//! norm         layer normalization and its gradients
//! attention    self-attention within each text of packed rows, and its gradient
//! shared       gradients of rows that several tokens share
//! adamw        AdamW update and squared norm of a gradient
//! small        products of small matrices
//! columns      sums over rows, in an order that is independent of threads
//! numbers      test data
//! ```
//!
//! Every kernel is deterministic: it sums rows in fixed blocks and adds the blocks in order, no
//! matter which thread computes them.
//!
//! `unsafe` occurs in three modules: in `width` (calls of code compiled for instructions that were
//! just detected), in `product` (a block of columns of a matrix is not a slice, and the tile is
//! written in assembly) and in `transpose` (register shuffles). The kernels are a separate crate so
//! that development builds optimize them, and so that all other code can do without `unsafe`.

mod adamw;
mod attention;
mod columns;
mod factors;
mod gelu;
mod math;
mod norm;
#[cfg(test)]
mod numbers;
mod product;
mod shared;
mod small;
mod thread_pool;
mod transpose;
mod width;

pub use adamw::{AdamWStep, adamw, squares};
pub use attention::{Attention, Texts};
pub use factors::Factors;
pub use gelu::{gelu, gelu_gradient, gelu_with_slope};
pub use norm::{NormGradients, NormStatistics, layer_norm, layer_norm_gradient};
pub use product::{LinearGradients, linear, linear_gradient, linear_input_gradient};
pub use shared::Sharing;
pub use thread_pool::{SingleThread, ThreadPool};
