//! Tests of `train`: the numbers are PyTorch's, written by `scripts/fixtures/gradients.py`.

mod artifacts;
mod exactness;
mod finite_differences;
mod folder;
mod reference;
mod reversed;
mod weights;
