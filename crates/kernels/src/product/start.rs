//! What a product is added to.

use std::ops::Range;

use crate::columns;

/// What a product is added to: nothing, or a row for all rows, or a number for each of the result, or both.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Start<'a> {
    /// As long as a row of the result.
    pub(super) row: Option<&'a [f32]>,
    /// As large as the result.
    pub(super) matrix: Option<&'a [f32]>,
}

impl Start<'_> {
    /// Whether there is nothing.
    pub(super) fn is_nothing(&self) -> bool {
        self.row.is_none() && self.matrix.is_none()
    }

    /// Writes it into some columns of the result's row with this number.
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
