//! A factor of a product.

use std::ops::Range;

/// A read-only view of a matrix, with strides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
}

impl<'a> Matrix<'a> {
    pub(crate) fn new(data: &'a [f32], columns: usize) -> Self {
        let rows = data.len() / columns.max(1);
        assert_eq!(rows * columns, data.len(), "whole rows of {columns}");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(super) fn rows(self, range: &Range<usize>) -> Self {
        Self {
            data: &self.data[(range.start * self.row_stride).min(self.data.len())..],
            rows: range.len(),
            ..self
        }
    }

    pub(crate) fn columns(self, range: &Range<usize>) -> Self {
        Self {
            data: &self.data[(range.start * self.column_stride).min(self.data.len())..],
            columns: range.len(),
            ..self
        }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Returns true when the columns are contiguous and follow each other in the data, as those of
    /// a transposed matrix do.
    pub(super) fn has_contiguous_columns(&self) -> bool {
        self.row_stride == 1 && self.column_stride == self.rows
    }

    /// Returns true when every element is within the data.
    pub(super) fn holds(&self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride < self.data.len()
    }
}
