//! Tests of `train` and its graphs against numbers from PyTorch, which
//! `scripts/fixtures/gradients.py`, `steps.py`, `dropout.py`, `negatives.py` and `smoothing.py`
//! write.
//!
//! ```text
//! artifacts           the graphs as files
//! device              gradients on a GPU, if there is one
//! dropout             training with dropout
//! early_stop          runs with assessments and an early end
//! exactness           loss, gradients, embeddings and steps against PyTorch, per architecture
//! finite_differences  gradients against differences of the loss
//! folder              a run on a folder, and the exported model
//! negatives           hard negatives against sentence-transformers
//! parts               batches encoded in parts
//! reference           the fixtures
//! resident            parameters and moments that stay on a device
//! resume              interrupted runs
//! reversed            pairs and reversed pairs as separate examples
//! smoothing           label smoothing against PyTorch
//! steps               fifty steps against PyTorch
//! weights             16-bit and sharded weights, names with a prefix
//! ```

mod artifacts;
mod device;
mod dropout;
mod early_stop;
mod exactness;
mod finite_differences;
mod folder;
mod negatives;
mod parts;
pub(crate) mod reference;
mod resident;
mod resume;
mod reversed;
mod smoothing;
mod steps;
mod weights;

pub(crate) use reference::{Reference, fixture, runtime};
