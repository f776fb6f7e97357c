//! The matrix products of a linear layer, divided among threads.
//!
//! Each task computes a block of one result. The result is cut along its longer side, and every
//! task copies the whole factor along the other side into the order that its product needs. This
//! cut copies least: each task copies the few rows of a small batch, not the weight. The cut
//! depends only on the result's shape and the number of threads.
//!
//! ```text
//! matrix   factor of a product, with two strides
//! start    values that a product is added to
//! target   result, cut into blocks that tasks write to
//! tiles    product of a block with AVX2, tile by tile
//! tile     product of a tile, in registers
//! panels   copies of factors, in the order in which tiles read them
//! library  product of a block by the crate `gemm`: with AVX-512, and without AVX2
//! plain    three plain loops, the reference for tests
//! ```

mod library;
mod matrix;
#[cfg(target_arch = "x86_64")]
mod panels;
#[cfg(test)]
mod plain;
mod start;
mod target;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub(crate) use matrix::Matrix;
use start::Start;
use target::{Block, Target};

use super::thread_pool::ThreadPool;

/// Computes `y = x weight^T + bias (+ residual)` for `x` `[rows, inputs]`, `weight`
/// `[outputs, inputs]`, `residual` and `y` `[rows, outputs]`.
///
/// # Panics
/// When the lengths of the slices don't match these shapes.
pub fn linear(
    pool: &dyn ThreadPool,
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
    assert!(y.rows == x.rows && weight.rows == outputs, "shapes match");
    assert!(
        residual.is_none_or(|residual| residual.len() == y.rows * outputs),
        "the residual is as large as y"
    );
    let blocks = y.blocks(pool.threads());
    pool.each(blocks.len(), &|task| {
        let block = &blocks[task];
        let start = Start { row: Some(bias), matrix: residual };
        product(&y, block, x.rows(&block.rows), weight.rows(&block.columns).transposed(), start);
    });
}

/// Outputs of [`linear_gradient`].
pub struct LinearGradients<'a> {
    /// Gradient of the input, `[rows, inputs]`.
    pub x: &'a mut [f32],
    /// Gradient of the weight, `[outputs, inputs]`.
    pub weight: &'a mut [f32],
}

/// Computes `dx = upstream weight (+ earlier)` and `dweight = upstream^T x` for `upstream`
/// `[rows, outputs]`, `x` and `earlier` `[rows, inputs]`.
///
/// # Panics
/// When the lengths of the slices don't match these shapes.
pub fn linear_gradient(
    pool: &dyn ThreadPool,
    upstream: &[f32],
    x: &[f32],
    weight: &[f32],
    inputs: usize,
    earlier: Option<&[f32]>,
    gradients: LinearGradients<'_>,
) {
    let of_x = InputGradient::new(upstream, weight, inputs, earlier, gradients.x);
    let (upstream, x) = (of_x.upstream, Matrix::new(x, inputs));
    let dweight = Target::new(gradients.weight, inputs);
    assert!(upstream.rows == x.rows && dweight.rows == upstream.columns, "shapes match");
    let (x_blocks, weight_blocks) = (of_x.dx.blocks(pool.threads()), dweight.blocks(pool.threads()));
    pool.each(x_blocks.len() + weight_blocks.len(), &|task| {
        if let Some(block) = x_blocks.get(task) {
            return of_x.write(block);
        }
        let block = &weight_blocks[task - x_blocks.len()];
        let (upstream, x) = (upstream.columns(&block.rows).transposed(), x.columns(&block.columns));
        product(&dweight, block, upstream, x, Start::default());
    });
}

/// Computes `dx = upstream weight (+ earlier)` alone, for a weight whose gradient stays as its
/// [factors](crate::Factors).
///
/// # Panics
/// When the lengths of the slices don't match these shapes.
pub fn linear_input_gradient(
    pool: &dyn ThreadPool,
    upstream: &[f32],
    weight: &[f32],
    inputs: usize,
    earlier: Option<&[f32]>,
    dx: &mut [f32],
) {
    let of_x = InputGradient::new(upstream, weight, inputs, earlier, dx);
    let blocks = of_x.dx.blocks(pool.threads());
    pool.each(blocks.len(), &|task| of_x.write(&blocks[task]));
}

/// Gradient of a linear layer's input, written block by block.
struct InputGradient<'a> {
    upstream: Matrix<'a>,
    weight: Matrix<'a>,
    earlier: Option<&'a [f32]>,
    dx: Target<'a>,
}

impl<'a> InputGradient<'a> {
    fn new(
        upstream: &'a [f32],
        weight: &'a [f32],
        inputs: usize,
        earlier: Option<&'a [f32]>,
        dx: &'a mut [f32],
    ) -> Self {
        let weight = Matrix::new(weight, inputs);
        let (upstream, dx) = (Matrix::new(upstream, weight.rows), Target::new(dx, inputs));
        assert!(upstream.rows == dx.rows, "dx has a row for each row of upstream");
        assert!(
            earlier.is_none_or(|earlier| earlier.len() == dx.rows * inputs),
            "the earlier gradient is as large as dx"
        );
        Self { upstream, weight, earlier, dx }
    }

    fn write(&self, block: &Block) {
        let start = Start { row: None, matrix: self.earlier };
        let (upstream, weight) = (self.upstream.rows(&block.rows), self.weight.columns(&block.columns));
        product(&self.dx, block, upstream, weight, start);
    }
}

/// Computes `a b` on the calling thread.
///
/// # Panics
/// When the shapes don't match.
pub(crate) fn multiply(a: Matrix<'_>, b: Matrix<'_>, result: &mut [f32]) {
    assert_eq!(result.len(), a.rows * b.columns, "the result is as large as the product");
    let block = Block { rows: 0..a.rows, columns: 0..b.columns };
    product(&Target::new(result, b.columns), &block, a, b, Start::default());
}

/// Writes `start + a b` into a block.
fn product(target: &Target<'_>, block: &Block, a: Matrix<'_>, b: Matrix<'_>, start: Start<'_>) {
    #[cfg(target_arch = "x86_64")]
    if !super::width::has_512()
        && let Some(avx2) = super::width::Avx2::here()
    {
        return tiles::product(avx2, target, block, a, b, start);
    }
    library::product(target, block, a, b, start);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::numbers::numbers;

    /// A pool that runs tasks in reverse order, as threads may.
    struct Backwards(usize);

    impl ThreadPool for Backwards {
        fn threads(&self) -> usize {
            self.0
        }

        fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
            (0..tasks).rev().for_each(task);
        }
    }

    /// Computes the safe equivalent: `out[i][j] += sum_k a(i, k) b(k, j)`.
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
            let mut alone = vec![f32::NAN; rows * inputs];
            linear_input_gradient(&Backwards(threads), &upstream, &weight, inputs, more.then_some(&earlier[..]), &mut alone);
            prop_assert_eq!(alone, dx);
            let mut exact = vec![0.0; outputs * inputs];
            plain(&mut exact, (outputs, inputs, rows), |i, k| upstream[k * outputs + i], |k, j| x[k * inputs + j]);
            prop_assert!(near(&dweight, &exact));
        }
    }
}
