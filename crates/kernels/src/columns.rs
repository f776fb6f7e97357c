//! Sums over rows, in an order that is independent of threads.

/// Number of rows that one task processes and sums. The number is fixed so that sums are the same
/// for any number of threads.
pub(crate) const BLOCK: usize = 48;

/// Adds `row` to `sums`.
#[inline(always)]
pub(crate) fn add(sums: &mut [f32], row: &[f32]) {
    sums.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
}

/// Adds up the sums of all blocks, `[blocks, width]`, in order.
pub(crate) fn total(blocks: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for block in blocks.chunks_exact(sums.len().max(1)) {
        add(sums, block);
    }
}
