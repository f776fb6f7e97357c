//! The result of a product.

use std::ops::Range;

/// Blocks begin at a multiple of this, so that no vector of a result is shared.
const STEP: usize = 16;

/// Part of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Block {
    /// Some of its rows and columns, counted from its own first ones.
    ///
    /// # Panics
    /// When it has less.
    pub(super) fn part(&self, rows: &Range<usize>, columns: &Range<usize>) -> Self {
        assert!(rows.end <= self.rows.len() && columns.end <= self.columns.len(), "a part of the block");
        let within =
            |whole: &Range<usize>, part: &Range<usize>| whole.start + part.start..whole.start + part.end;
        Self { rows: within(&self.rows, rows), columns: within(&self.columns, columns) }
    }
}

/// A result that several tasks write to, each into blocks of its own.
pub(super) struct Target<'a> {
    start: *mut f32,
    pub(super) rows: usize,
    pub(super) columns: usize,
    borrowed: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: a target stands for a mutable borrow of numbers. Threads share it only inside `linear` and `linear_gradient`,
// where each task touches the elements of its own block, and `blocks` cuts a result into blocks without overlap.
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

    /// Calls `then` with the number of each row of a block and the block's part of it.
    pub(super) fn each_row(&self, block: &Block, mut then: impl FnMut(usize, &mut [f32])) {
        assert!(block.rows.end <= self.rows && block.columns.end <= self.columns, "a block of this result");
        for row in block.rows.clone() {
            let first = row * self.columns + block.columns.start;
            // SAFETY: the range lies within the borrowed numbers (asserted above), and belongs to this block, whose task
            // is the only one that touches it; the slice is gone before the next is made.
            then(row, unsafe { std::slice::from_raw_parts_mut(self.start.add(first), block.columns.len()) });
        }
    }

    /// Where a block's first number is. What is reached from there must stay within the block: it belongs to one task.
    ///
    /// # Panics
    /// When it is no block of this result, or one without numbers.
    pub(super) fn corner(&self, block: &Block) -> *mut f32 {
        assert!(block.rows.end <= self.rows && block.columns.end <= self.columns, "a block of this result");
        assert!(!block.rows.is_empty() && !block.columns.is_empty(), "a block with numbers");
        // SAFETY: the first row and column lie within the borrowed numbers, as was just found.
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
