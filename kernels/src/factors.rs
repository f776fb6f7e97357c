//! The gradient of a linear layer's weight as its two factors. With few rows they are much the smaller: the gradient's
//! length follows from them, and a block of it is made where it is used, so that the whole is never written.

use std::ops::Range;

use super::product::{Block, Matrix, Target};

/// A gradient `upstream^T x`, `[outputs, inputs]`, of `upstream` `[rows, outputs]` and `x` `[rows, inputs]`.
#[derive(Debug, Clone, Copy)]
pub struct Factors<'a> {
    upstream: &'a [f32],
    x: &'a [f32],
    rows: usize,
}

impl<'a> Factors<'a> {
    /// # Panics
    /// When the slices aren't of whole rows.
    pub fn new(upstream: &'a [f32], x: &'a [f32], rows: usize) -> Self {
        assert!(upstream.len() + x.len() == 0 || rows > 0, "numbers lie in rows");
        assert!(
            upstream.len().is_multiple_of(rows.max(1)) && x.len().is_multiple_of(rows.max(1)),
            "whole rows of both factors"
        );
        Self { upstream, x, rows }
    }

    /// Rows of the gradient.
    pub fn outputs(&self) -> usize {
        self.upstream.len() / self.rows.max(1)
    }

    /// Columns of the gradient.
    pub fn inputs(&self) -> usize {
        self.x.len() / self.rows.max(1)
    }

    /// The gradient's squared length: `|U^T X|^2 = trace((U U^T) (X X^T))`, the sum of the products of two matrices of
    /// `rows` by `rows`, number by number.
    pub fn squares(&self) -> f64 {
        let upstream = inner_products(self.upstream, self.rows);
        let x = inner_products(self.x, self.rows);
        let sum: f64 = upstream.iter().zip(&x).map(|(u, x)| f64::from(*u) * f64::from(*x)).sum();
        // Rounding may leave less than nothing of a gradient of zero; `max` would make nothing of NaN.
        if sum < 0.0 { 0.0 } else { sum }
    }

    /// Writes these rows of the gradient.
    ///
    /// # Panics
    /// When there are no such rows, or `gradient` isn't as long as they are.
    pub fn write(&self, outputs: Range<usize>, gradient: &mut [f32]) {
        let inputs = self.inputs();
        assert!(outputs.end <= self.outputs(), "rows of the gradient");
        assert_eq!(gradient.len(), outputs.len() * inputs, "as many numbers as those rows have");
        let upstream = Matrix::new(self.upstream, self.outputs()).columns(&outputs).turned();
        let target = Target::new(gradient, inputs);
        let whole = Block { rows: 0..outputs.len(), columns: 0..inputs };
        target.product(&whole, upstream, Matrix::new(self.x, inputs), false);
    }
}

/// `m m^T` of a matrix of so many rows.
fn inner_products(m: &[f32], rows: usize) -> Vec<f32> {
    let m = Matrix::new(m, m.len() / rows.max(1));
    let mut products = vec![0.0; m.rows * m.rows];
    let target = Target::new(&mut products, m.rows);
    target.product(&Block { rows: 0..m.rows, columns: 0..m.rows }, m, m.turned(), false);
    products
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
            let factors = Factors::new(&upstream, &x, rows);
            let exact: Vec<f64> = (0..outputs * inputs)
                .map(|at| {
                    let (o, i) = (at / inputs, at % inputs);
                    (0..rows).map(|row| f64::from(upstream[row * outputs + o]) * f64::from(x[row * inputs + i])).sum()
                })
                .collect();
            let squares: f64 = exact.iter().map(|number| number * number).sum();
            prop_assert!((factors.squares() - squares).abs() < 1e-4 * (1.0 + squares));
            if rows == 0 {
                return Ok(());
            }
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
        assert!(Factors::new(&[f32::NAN, 1.0], &[1.0, 1.0], 2).squares().is_nan());
        assert!(!Factors::new(&[f32::INFINITY, 1.0], &[1.0, 1.0], 2).squares().is_finite());
    }
}
