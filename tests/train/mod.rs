//! Tests of `train` and the graphs it runs: the numbers are PyTorch's, written by `scripts/fixtures/gradients.py`.
//!
//! ```text
//! artifacts           the graphs as files
//! exactness           loss, gradients, embeddings and optimiser steps against PyTorch, per architecture
//! finite_differences  gradients against the loss
//! folder              a run on a folder, and the exported model
//! reference           the fixtures
//! reversed            pairs and reversed pairs as separate examples
//! weights             16-bit and sharded weights, names with a prefix
//! ```

mod artifacts;
mod exactness;
mod finite_differences;
mod folder;
mod reference;
mod reversed;
mod weights;

pub(crate) use reference::runtime;
