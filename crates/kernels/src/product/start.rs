//! The values that a product is added to.

use std::ops::Range;

use crate::columns;

/// The values that a product is added to: nothing, one row for all rows of the result, one value
/// for each element of the result, or both.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Start<'a> {
    /// Row that is added to every row of the result, of the same length.
    pub(super) row: Option<&'a [f32]>,
    /// Matrix that is added to the result, of the same shape.
    pub(super) matrix: Option<&'a [f32]>,
}

impl Start<'_> {
    /// Returns true when the product is added to nothing.
    pub(super) fn is_nothing(&self) -> bool {
        self.row.is_none() && self.matrix.is_none()
    }

    /// Writes the start values of row `row` of the result into `numbers`, for these columns. `of`
    /// is the number of columns of the whole result.
    pub(super) fn write(&self, row: usize, columns: &Range<usize>, of: usize, numbers: &mut [f32]) {
        match self.row {
            Some(all) => numbers.copy_from_slice(&all[columns.clone()]),
            None => numbers.fill(0.0),
        }
        if let Some(matrix) = self.matrix {
            columns::add(numbers, &matrix[row * of..][columns.clone()]);
        }
    }
}
