//! Products as three plain loops, the reference for every other way of computing them.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::matrix::Matrix;
use super::start::Start;
use super::target::{Block, Target};
use crate::numbers::numbers;

/// A product to compute, in a block of a larger result.
#[derive(Debug)]
pub(super) struct Case {
    rows: usize,
    columns: usize,
    depth: usize,
    a_transposed: bool,
    pub(super) b_transposed: bool,
    /// Rows and columns of the result before and after the block.
    around: [usize; 2],
    /// Set when the product is added to a row, and when it is added to a matrix.
    start: [bool; 2],
}

impl Case {
    /// Generates any product of up to a hundred rows and columns. Some implementations cut deep
    /// products, so a fifth of the cases are deep.
    pub(super) fn any() -> impl Strategy<Value = Self> {
        let depth = prop_oneof![4 => 0_usize..50, 1 => 300_usize..900];
        (0_usize..100, 0_usize..100, depth, any::<[bool; 4]>(), [0_usize..3, 0..20]).prop_map(
            |(rows, columns, depth, [a_transposed, b_transposed, row, matrix], around)| Self {
                rows,
                columns,
                depth,
                a_transposed,
                b_transposed,
                around,
                start: [row, matrix],
            },
        )
    }

    /// Fails unless `product` writes the right block and nothing beside it.
    pub(super) fn check(
        &self,
        product: impl Fn(&Target<'_>, &Block, Matrix<'_>, Matrix<'_>, Start<'_>),
    ) -> Result<(), TestCaseError> {
        let &Self { rows, columns, depth, a_transposed, b_transposed, around: [above, beside], start } = self;
        let (a, b) = (numbers(rows * depth, 613), numbers(depth * columns, 71));
        let width = columns + 2 * beside;
        let before = numbers((rows + 2 * above) * width, 377);
        let mut found = before.clone();
        let (row, matrix) = (numbers(width, 97), numbers(before.len(), 211));
        let start = Start { row: start[0].then_some(&row), matrix: start[1].then_some(&matrix) };
        let a_matrix = match a_transposed {
            true => Matrix::new(&a, rows).transposed(),
            false => Matrix::new(&a, depth),
        };
        let b_matrix = match b_transposed {
            true => Matrix::new(&b, depth).transposed(),
            false => Matrix::new(&b, columns),
        };
        // `Matrix::new` can't infer the number of rows or columns of a matrix without elements.
        let a_matrix = Matrix { rows, columns: depth, ..a_matrix };
        let b_matrix = Matrix { rows: depth, columns, ..b_matrix };
        let block = Block { rows: above..above + rows, columns: beside..beside + columns };
        if width > 0 {
            product(&Target::new(&mut found, width), &block, a_matrix, b_matrix, start);
        }
        for (at, (found, before)) in found.iter().zip(&before).enumerate() {
            let (row, column) = (at / width, at % width);
            if !block.rows.contains(&row) || !block.columns.contains(&column) {
                prop_assert_eq!(found, before);
                continue;
            }
            let (i, j) = (row - above, column - beside);
            let product = |k: usize| {
                let a = a[if a_transposed { k * rows + i } else { i * depth + k }];
                let b = b[if b_transposed { j * depth + k } else { k * columns + j }];
                f64::from(a) * f64::from(b)
            };
            let start = [start.row.map(|row| row[column]), start.matrix.map(|matrix| matrix[at])];
            let start: f64 = start.into_iter().flatten().map(f64::from).sum();
            let exact = start + (0..depth).map(product).sum::<f64>();
            prop_assert!((f64::from(*found) - exact).abs() < 1e-4 * (1.0 + exact.abs()));
        }
        Ok(())
    }
}
