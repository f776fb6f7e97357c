//! The arithmetic of training a sentence encoder on a CPU, one fused pass per layer.
//!
//! Owns loops over slices of numbers, compiled for each width of vector registers, and how they are shared among
//! threads. Knows no graph, no runtime, no model: shapes come in as lengths, threads as a [`ThreadPool`].
//!
//! ```text
//! pool       work shared among threads
//! width      one body, compiled for every width of vector registers
//! math       exp and the normal distribution, branch-free
//! product    matrix products, forward and backward, of a linear layer
//! transpose       rows written as columns, for attention and for products by a weight
//! factors    the gradient of a linear layer's weight as its two factors
//! gelu       the activation and its gradient
//! norm       layer normalization and its gradients
//! attention  attention within each text of packed rows, and its gradient
//! shared     rows that several tokens share
//! adamw      the optimizer's update
//! small      products of small matrices
//! columns    sums over rows, in an order that doesn't depend on threads
//! numbers    numbers for tests
//! ```
//!
//! Everything is deterministic: rows are summed in fixed blocks and the blocks in order, whoever computes them.
//!
//! `unsafe` stands in `width` (calling code compiled for registers that were just found), in `product` (a block of columns
//! of a matrix has no slice of its own, and the tile is assembly) and in `transpose` (shuffles of registers). This is a crate
//! of its own so that a development build optimizes it, and so that the rest can do without `unsafe`.

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
pub use gelu::{gelu, gelu_gradient};
pub use norm::{NormGradients, NormStatistics, layer_norm, layer_norm_gradient};
pub use product::{LinearGradients, linear, linear_gradient, linear_input_gradient};
pub use shared::Sharing;
pub use thread_pool::{Alone, ThreadPool};
