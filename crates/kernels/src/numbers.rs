//! Test data.

/// Returns distinct, unordered numbers between -1 and about 1. Another `step` gives another
/// sequence.
pub(crate) fn numbers(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|n| ((n * step + 13) % 1_009) as f32 / 500.0 - 1.0).collect()
}
