//! The result of a product.

use std::ops::Range;

/// Multiple that blocks begin at, so that no two blocks share a vector of the result.
const STEP: usize = 16;

/// A block of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Block {
    /// Returns some rows and columns of the block, counted from the block's first row and column.
    ///
    /// # Panics
    /// When the block has fewer rows or columns.
    pub(super) fn part(&self, rows: &Range<usize>, columns: &Range<usize>) -> Self {
        assert!(rows.end <= self.rows.len() && columns.end <= self.columns.len(), "a part of the block");
        let within =
            |whole: &Range<usize>, part: &Range<usize>| whole.start + part.start..whole.start + part.end;
        Self { rows: within(&self.rows, rows), columns: within(&self.columns, columns) }
    }
}

/// A result that several tasks write to, each to its own blocks.
pub(super) struct Target<'a> {
    start: *mut f32,
    pub(super) rows: usize,
    pub(super) columns: usize,
    borrowed: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: a target stands for a mutable borrow of a slice. Threads share a target only inside
// `linear`, `linear_gradient` and `linear_input_gradient`. There each task touches only the
// elements of its own block, and `blocks` cuts a result into blocks that don't overlap.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    pub(super) fn new(data: &'a mut [f32], columns: usize) -> Self {
        let rows = data.len() / columns.max(1);
        assert_eq!(rows * columns, data.len(), "whole rows of {columns}");
        Self { start: data.as_mut_ptr(), rows, columns, borrowed: std::marker::PhantomData }
    }

    /// Cuts the result into at most `parts` blocks that cover it without overlap.
    pub(super) fn blocks(&self, parts: usize) -> Vec<Block> {
        let (rows, columns) = (self.rows, self.columns);
        if rows == 0 || columns == 0 {
            return Vec::new();
        }
        let along_rows = rows >= columns;
        let whole = if along_rows { rows } else { columns };
        let step = whole.div_ceil(parts.max(1)).next_multiple_of(STEP);
        (0..whole.div_ceil(step))
            .map(|part| part * step..((part + 1) * step).min(whole))
            .map(|range| match along_rows {
                true => Block { rows: range, columns: 0..columns },
                false => Block { rows: 0..rows, columns: range },
            })
            .collect()
    }

    /// Calls `then` with the index of each row of a block and the block's part of that row.
    pub(super) fn each_row(&self, block: &Block, mut then: impl FnMut(usize, &mut [f32])) {
        assert!(block.rows.end <= self.rows && block.columns.end <= self.columns, "a block of this result");
        for row in block.rows.clone() {
            let first = row * self.columns + block.columns.start;
            // SAFETY: the range is within the borrowed slice (asserted above) and belongs to this
            // block. Only the block's task touches the block, and each slice is dropped before the
            // next is created.
            then(row, unsafe { std::slice::from_raw_parts_mut(self.start.add(first), block.columns.len()) });
        }
    }

    /// Returns a pointer to a block's first element. The caller may reach only elements of the
    /// block from there: the block belongs to one task.
    ///
    /// # Panics
    /// When `block` is not a block of this result, or is empty.
    pub(super) fn corner(&self, block: &Block) -> *mut f32 {
        assert!(block.rows.end <= self.rows && block.columns.end <= self.columns, "a block of this result");
        assert!(!block.rows.is_empty() && !block.columns.is_empty(), "the block isn't empty");
        // SAFETY: the assertions have just checked that the first row and column are within the
        // borrowed slice.
        unsafe { self.start.add(block.rows.start * self.columns + block.columns.start) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn blocks_cover_a_result_without_overlap(rows in 0_usize..300, columns in 0_usize..300, parts in 1_usize..9) {
            let mut data = vec![0.0; rows * columns];
            let target = Target::new(&mut data, columns);
            let rows = target.rows;
            let mut hits = vec![0; rows * columns];
            for block in target.blocks(parts) {
                for row in block.rows.clone() {
                    block.columns.clone().for_each(|column| hits[row * columns + column] += 1);
                }
            }
            prop_assert!(hits.iter().all(|hits| *hits == 1));
        }
    }
}
