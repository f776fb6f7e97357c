//! The gradient of a linear layer's weight, stored as its two factors.
//!
//! With few rows the factors are much smaller than the gradient. The gradient's norm follows from
//! them, and a block of the gradient is computed where it is used, so the whole gradient never
//! exists in memory.

use std::ops::Range;

use super::product::{Matrix, multiply};

/// A gradient `upstream^T x`, `[outputs, inputs]`, of the factors `upstream` `[rows, outputs]` and
/// `x` `[rows, inputs]`.
#[derive(Debug, Clone, Copy)]
pub struct Factors<'a> {
    upstream: Matrix<'a>,
    x: Matrix<'a>,
}

impl<'a> Factors<'a> {
    /// Creates the gradient from its two factors, each with its width.
    ///
    /// # Panics
    /// When a factor's length is not a multiple of its width, or the factors differ in their number
    /// of rows.
    pub fn new((upstream, outputs): (&'a [f32], usize), (x, inputs): (&'a [f32], usize)) -> Self {
        let (upstream, x) = (Matrix::new(upstream, outputs), Matrix::new(x, inputs));
        assert_eq!(upstream.rows, x.rows, "both factors have the same number of rows");
        Self { upstream, x }
    }

    /// Number of rows of the gradient.
    pub fn outputs(&self) -> usize {
        self.upstream.columns
    }

    /// Number of columns of the gradient.
    pub fn inputs(&self) -> usize {
        self.x.columns
    }

    /// Returns the gradient's squared norm: `|U^T X|^2 = trace((U U^T) (X X^T))`, the sum of the
    /// element-wise product of two `[rows, rows]` matrices.
    pub fn squares(&self) -> f64 {
        let [upstream, x] = [self.upstream, self.x].map(|factor| {
            let mut products = vec![0.0; factor.rows * factor.rows];
            multiply(factor, factor.transposed(), &mut products);
            products
        });
        let sum: f64 = upstream.iter().zip(&x).map(|(u, x)| f64::from(*u) * f64::from(*x)).sum();
        // Rounding may make the sum of a zero gradient negative. `max` would turn NaN into 0.
        if sum < 0.0 { 0.0 } else { sum }
    }

    /// Writes the rows `outputs` of the gradient.
    ///
    /// # Panics
    /// When `outputs` exceeds the gradient's rows, or `gradient` has another length than those
    /// rows.
    pub fn write(&self, outputs: Range<usize>, gradient: &mut [f32]) {
        assert!(outputs.end <= self.outputs(), "outputs are rows of the gradient");
        multiply(self.upstream.columns(&outputs).transposed(), self.x, gradient);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrix(rows: usize, columns: usize) -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-2.0_f32..2.0, rows * columns)
    }

    fn sizes() -> impl Strategy<Value = ((usize, usize, usize), Vec<f32>, Vec<f32>)> {
        (0_usize..40, 1_usize..50, 1_usize..50).prop_flat_map(|(rows, outputs, inputs)| {
            (Just((rows, outputs, inputs)), matrix(rows, outputs), matrix(rows, inputs))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn blocks_and_length_are_those_of_the_product(
            ((rows, outputs, inputs), upstream, x) in sizes(), cut in 0.0_f64..=1.0,
        ) {
            let factors = Factors::new((&upstream, outputs), (&x, inputs));
            let exact: Vec<f64> = (0..outputs * inputs)
                .map(|at| {
                    let (o, i) = (at / inputs, at % inputs);
                    (0..rows).map(|row| f64::from(upstream[row * outputs + o]) * f64::from(x[row * inputs + i])).sum()
                })
                .collect();
            let squares: f64 = exact.iter().map(|number| number * number).sum();
            prop_assert!((factors.squares() - squares).abs() < 1e-4 * (1.0 + squares));
            prop_assert_eq!((factors.outputs(), factors.inputs()), (outputs, inputs));
            let cut = (outputs as f64 * cut) as usize;
            let mut gradient = vec![f32::NAN; outputs * inputs];
            let (above, below) = gradient.split_at_mut(cut * inputs);
            factors.write(0..cut, above);
            factors.write(cut..outputs, below);
            for (found, exact) in gradient.iter().zip(&exact) {
                prop_assert!((f64::from(*found) - exact).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        assert!(Factors::new((&[f32::NAN, 1.0], 1), (&[1.0, 1.0], 1)).squares().is_nan());
        assert!(!Factors::new((&[f32::INFINITY, 1.0], 1), (&[1.0, 1.0], 1)).squares().is_finite());
    }
}
