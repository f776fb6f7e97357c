//! Sums over rows, in an order that doesn't depend on threads.

/// Rows that one task works on and sums up by itself. Fixed, so that sums come out the same for any number of threads.
pub(crate) const BLOCK: usize = 48;

/// Adds `row` onto `sums`.
#[inline(always)]
pub(crate) fn add(sums: &mut [f32], row: &[f32]) {
    sums.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
}

/// Adds up the blocks' sums, `[blocks, width]`, in order.
pub(crate) fn total(blocks: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for block in blocks.chunks_exact(sums.len().max(1)) {
        add(sums, block);
    }
}
