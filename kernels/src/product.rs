//! The matrix products of a linear layer, shared among threads.
//!
//! The products themselves are the crate `gemm`'s. Here is how they are cut: each task computes a block of one result, cut
//! along its longer side. Every task copies the whole factor that lies along the other side into the order the kernel
//! wants, so this is the way that copies least: a small batch's few rows, and not the weight, twice. How a result is cut
//! depends on its shape and the number of threads only.

use std::ops::Range;

use super::team::Team;
use super::turn;

/// Blocks begin at a multiple of this, so that no vector of a result is shared.
const STEP: usize = 16;

/// `y = x weight^T + bias (+ residual)` for rows `x` `[rows, inputs]`, `weight` `[outputs, inputs]`; `residual` and `y` are
/// `[rows, outputs]`.
///
/// # Panics
/// When the slices' lengths don't fit.
pub fn linear(
    team: &dyn Team,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    residual: Option<&[f32]>,
    y: &mut [f32],
) {
    let outputs = bias.len();
    let inputs = weight.len() / outputs.max(1);
    let x = Matrix::new(x, inputs);
    let weight = Matrix::new(weight, inputs);
    let y = Target::new(y, outputs);
    assert!(y.rows == x.rows && weight.rows == outputs, "as many results as rows");
    assert!(
        residual.is_none_or(|residual| residual.len() == y.rows * outputs),
        "a residual is as large as the result"
    );
    let blocks = y.blocks(team.threads());
    team.each(blocks.len(), &|task| {
        let block = &blocks[task];
        y.each_row(block, |row, y| {
            y.copy_from_slice(&bias[block.columns.clone()]);
            if let Some(residual) = residual {
                super::columns::add(y, &residual[row * outputs..][block.columns.clone()]);
            }
        });
        y.product(block, x.rows(&block.rows), weight.rows(&block.columns).turned(), true);
    });
}

/// Where the gradients of a linear layer go.
pub struct LinearGradients<'a> {
    /// Of its input, `[rows, inputs]`.
    pub x: &'a mut [f32],
    /// Of its weight, `[outputs, inputs]`.
    pub weight: &'a mut [f32],
}

/// `dx = upstream weight (+ earlier)`, `dweight = upstream^T x` for `upstream` `[rows, outputs]` and `x`, `earlier`
/// `[rows, inputs]`.
///
/// # Panics
/// When the slices' lengths don't fit.
pub fn linear_gradient(
    team: &dyn Team,
    upstream: &[f32],
    x: &[f32],
    weight: &[f32],
    inputs: usize,
    earlier: Option<&[f32]>,
    gradients: LinearGradients<'_>,
) {
    let outputs = weight.len() / inputs.max(1);
    let (upstream, x, weight) =
        (Matrix::new(upstream, outputs), Matrix::new(x, inputs), Matrix::new(weight, inputs));
    let (dx, dweight) = (Target::new(gradients.x, inputs), Target::new(gradients.weight, inputs));
    assert!(
        upstream.rows == x.rows && dx.rows == x.rows && dweight.rows == outputs,
        "as many gradients as numbers"
    );
    assert!(
        earlier.is_none_or(|earlier| earlier.len() == dx.rows * inputs),
        "an earlier gradient is as large"
    );
    let (of_x, of_weight) = (dx.blocks(team.threads()), dweight.blocks(team.threads()));
    team.each(of_x.len() + of_weight.len(), &|task| {
        if let Some(block) = of_x.get(task) {
            if let Some(earlier) = earlier {
                dx.each_row(block, |row, dx| {
                    dx.copy_from_slice(&earlier[row * inputs..][block.columns.clone()])
                });
            }
            dx.product(block, upstream.rows(&block.rows), weight.columns(&block.columns), earlier.is_some());
        } else {
            let block = &of_weight[task - of_x.len()];
            dweight.product(block, upstream.columns(&block.rows).turned(), x.columns(&block.columns), false);
        }
    });
}

/// `a b`, on the calling thread.
///
/// # Panics
/// When the shapes don't fit.
pub(crate) fn multiply(a: Matrix<'_>, b: Matrix<'_>, product: &mut [f32]) {
    assert_eq!(product.len(), a.rows * b.columns, "as many numbers as the product has");
    let target = Target::new(product, b.columns);
    target.product(&Block { rows: 0..a.rows, columns: 0..b.columns }, a, b, false);
}

/// A matrix to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    pub(crate) fn new(data: &'a [f32], columns: usize) -> Self {
        let rows = data.len() / columns.max(1);
        assert_eq!(rows * columns, data.len(), "whole rows of {columns}");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    fn rows(self, range: &Range<usize>) -> Self {
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

    pub(crate) fn turned(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Whether the columns lie in the data one after the other, as those of a turned matrix do.
    fn columns_lie_whole(&self) -> bool {
        self.row_stride == 1 && self.column_stride == self.rows
    }

    /// Whether every element lies within the data.
    fn holds(&self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride < self.data.len()
    }
}

/// Part of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    rows: Range<usize>,
    columns: Range<usize>,
}

/// A result that several tasks write to, each into blocks of its own.
struct Target<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    borrowed: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: a target stands for a mutable borrow of numbers. Threads share it only inside `linear` and `linear_gradient`,
// where each task touches the elements of its own block, and `blocks` cuts a result into blocks without overlap.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    fn new(data: &'a mut [f32], columns: usize) -> Self {
        let rows = data.len() / columns.max(1);
        assert_eq!(rows * columns, data.len(), "whole rows of {columns}");
        Self { start: data.as_mut_ptr(), rows, columns, borrowed: std::marker::PhantomData }
    }

    /// Cuts the result into at most `parts` blocks that cover it without overlap.
    fn blocks(&self, parts: usize) -> Vec<Block> {
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
    fn each_row(&self, block: &Block, mut then: impl FnMut(usize, &mut [f32])) {
        assert!(block.rows.end <= self.rows && block.columns.end <= self.columns, "a block of this result");
        for row in block.rows.clone() {
            let first = row * self.columns + block.columns.start;
            // SAFETY: the range lies within the borrowed numbers (asserted above), and belongs to this block, whose task
            // is the only one that touches it; the slice is gone before the next is made.
            then(row, unsafe { std::slice::from_raw_parts_mut(self.start.add(first), block.columns.len()) });
        }
    }

    /// Writes the product `a b` into a block, or adds it onto what is there.
    fn product(&self, block: &Block, a: Matrix<'_>, b: Matrix<'_>, add: bool) {
        match b.columns_lie_whole() && turn::pays(b.rows) {
            true => self.product_in_panels(block, a, b, add),
            false => self.product_as_is(block, a, b, add),
        }
    }

    /// The same for a `b` whose columns lie one after the other, of which some are made rows at a time.
    fn product_in_panels(&self, block: &Block, a: Matrix<'_>, b: Matrix<'_>, add: bool) {
        assert!(b.columns == block.columns.len() && b.columns_lie_whole(), "columns of a turned matrix");
        let mut panel = Vec::new();
        for first in (0..b.columns).step_by(turn::PANEL) {
            let range = first..(first + turn::PANEL).min(b.columns);
            turn::turn(b.columns(&range).data, b.rows, range.len(), &mut panel);
            let columns = block.columns.start + range.start..block.columns.start + range.end;
            let part = Block { rows: block.rows.clone(), columns };
            self.product_as_is(&part, a, Matrix::new(&panel, range.len()), add);
        }
    }

    /// The same, whatever the order of the factors.
    fn product_as_is(&self, block: &Block, a: Matrix<'_>, b: Matrix<'_>, add: bool) {
        assert!(block.rows.end <= self.rows && block.columns.end <= self.columns, "a block of this result");
        assert!(
            a.rows == block.rows.len() && b.columns == block.columns.len() && a.columns == b.rows,
            "shapes fit"
        );
        assert!(a.holds() && b.holds(), "the factors lie within their data");
        let first = block.rows.start * self.columns + block.columns.start;
        // SAFETY: `gemm` reads `a` and `b` at the places that `holds` has just found inside their slices, and reads and
        // writes the block's elements, which lie within the borrowed numbers and belong to this task alone. No number
        // of the result is in `a` or `b`: those are shared borrows, it is a mutable one.
        unsafe {
            gemm::gemm(
                a.rows,
                b.columns,
                a.columns,
                self.start.add(first),
                1,
                self.columns as isize,
                add,
                a.data.as_ptr(),
                a.column_stride as isize,
                a.row_stride as isize,
                b.data.as_ptr(),
                b.column_stride as isize,
                b.row_stride as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Does tasks in reverse order, as threads may.
    struct Backwards(usize);

    impl Team for Backwards {
        fn threads(&self) -> usize {
            self.0
        }

        fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
            (0..tasks).rev().for_each(task);
        }
    }

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|n| ((n * step + 13) % 1_009) as f32 / 500.0 - 1.0).collect()
    }

    /// The safe equivalent: `out[i][j] += sum_k a(i, k) b(k, j)`.
    fn plain(
        out: &mut [f64],
        (rows, columns, inner): (usize, usize, usize),
        a: impl Fn(usize, usize) -> f32,
        b: impl Fn(usize, usize) -> f32,
    ) {
        for i in 0..rows {
            for j in 0..columns {
                out[i * columns + j] +=
                    (0..inner).map(|k| f64::from(a(i, k)) * f64::from(b(k, j))).sum::<f64>();
            }
        }
    }

    fn near(found: &[f32], exact: &[f64]) -> bool {
        found
            .iter()
            .zip(exact)
            .all(|(found, exact)| (f64::from(*found) - exact).abs() < 1e-4 * (1.0 + exact.abs()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn products_are_those_of_three_plain_loops(
            rows in 0_usize..130, inputs in 1_usize..40, outputs in 1_usize..200, threads in 1_usize..5, more in any::<bool>()
        ) {
            let (x, weight, bias) = (numbers(rows * inputs, 613), numbers(outputs * inputs, 71), numbers(outputs, 37));
            let residual = numbers(rows * outputs, 377);
            let mut exact: Vec<f64> = (0..rows * outputs)
                .map(|at| f64::from(bias[at % outputs]) + if more { f64::from(residual[at]) } else { 0.0 })
                .collect();
            plain(&mut exact, (rows, outputs, inputs), |i, k| x[i * inputs + k], |k, j| weight[j * inputs + k]);
            let mut y = vec![f32::NAN; rows * outputs];
            linear(&Backwards(threads), &x, &weight, &bias, more.then_some(&residual[..]), &mut y);
            prop_assert!(near(&y, &exact));

            let (upstream, earlier) = (residual, numbers(rows * inputs, 101));
            let (mut dx, mut dweight) = (vec![f32::NAN; rows * inputs], vec![f32::NAN; outputs * inputs]);
            let gradients = LinearGradients { x: &mut dx, weight: &mut dweight };
            linear_gradient(&Backwards(threads), &upstream, &x, &weight, inputs, more.then_some(&earlier[..]), gradients);
            let mut exact: Vec<f64> = earlier.iter().map(|x| if more { f64::from(*x) } else { 0.0 }).collect();
            plain(&mut exact, (rows, inputs, outputs), |i, k| upstream[i * outputs + k], |k, j| weight[k * inputs + j]);
            prop_assert!(near(&dx, &exact));
            let mut exact = vec![0.0; outputs * inputs];
            plain(&mut exact, (outputs, inputs, rows), |i, k| upstream[k * outputs + i], |k, j| x[k * inputs + j]);
            prop_assert!(near(&dweight, &exact));
        }

        /// Whether this processor would go this way or not.
        #[test]
        fn panels_add_up_to_the_product(
            rows in 1_usize..40, inputs in 1_usize..70, outputs in 1_usize..200, parts in 1_usize..4
        ) {
            let (x, weight) = (numbers(rows * inputs, 613), numbers(outputs * inputs, 71));
            let mut y = numbers(rows * outputs, 377);
            let mut exact: Vec<f64> = y.iter().map(|y| f64::from(*y)).collect();
            plain(&mut exact, (rows, outputs, inputs), |i, k| x[i * inputs + k], |k, j| weight[j * inputs + k]);
            let (x, weight) = (Matrix::new(&x, inputs), Matrix::new(&weight, inputs));
            let target = Target::new(&mut y, outputs);
            for block in target.blocks(parts) {
                let weight = weight.rows(&block.columns).turned();
                target.product_in_panels(&block, x.rows(&block.rows), weight, true);
            }
            prop_assert!(near(&y, &exact));
        }

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
