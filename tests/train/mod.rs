//! Tests of `train`: the numbers are PyTorch's, written by `scripts/fixtures/gradients.py` and `steps.py`.

mod exactness;
mod folder;
mod parts;
mod reference;
mod resume;
mod steps;
