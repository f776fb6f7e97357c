//! Tests of `train`: the numbers are PyTorch's, written by `scripts/fixtures/gradients.py`.

mod exactness;
mod folder;
mod reference;

pub(crate) use reference::runtime;
