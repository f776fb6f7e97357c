//! Exact GELU, `x Phi(x)`, and its gradient.
//!
//! The forward pass of training keeps only GELU's input. The backward pass computes result and slope again,
//! which costs one exponential for each element, and halves what a layer keeps of its widest rows.

use super::columns::{self, BLOCK};
use super::math::{Normal, multiply_add, normal};
use super::thread_pool::{ThreadPool, each_with};
use super::width::for_every_width;

/// Number of elements that one task of the forward pass processes.
const NUMBERS: usize = 1 << 15;

/// Computes `y = x Phi(x)` element by element.
///
/// # Panics
/// When the slices differ in length.
pub fn gelu(pool: &dyn ThreadPool, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "y is as long as x");
    each_with(pool, y.chunks_mut(NUMBERS).zip(x.chunks(NUMBERS)).collect(), |_, (y, x)| value(x, y));
}

for_every_width! { fn value(x: &[f32], y: &mut [f32]) = value_body }

#[inline(always)]
fn value_body<const FUSED: bool>(x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = *x * normal::<FUSED>(*x).below;
    }
}

/// Computes `y = x Phi(x)` element by element, and in `slope` GELU's slope there, `Phi(x) + x phi(x)`. The
/// slope is all that the gradient needs, and both results share one exponential.
///
/// # Panics
/// When the slices differ in length.
pub fn gelu_with_slope(pool: &dyn ThreadPool, x: &[f32], y: &mut [f32], slope: &mut [f32]) {
    assert!(x.len() == y.len() && x.len() == slope.len(), "y and slope are as long as x");
    let parts = y.chunks_mut(NUMBERS).zip(slope.chunks_mut(NUMBERS)).zip(x.chunks(NUMBERS)).collect();
    each_with(pool, parts, |_, ((y, slope), x)| value_and_slope(x, y, slope));
}

for_every_width! { fn value_and_slope(x: &[f32], y: &mut [f32], slope: &mut [f32]) = value_and_slope_body }

#[inline(always)]
fn value_and_slope_body<const FUSED: bool>(x: &[f32], y: &mut [f32], slope: &mut [f32]) {
    for ((y, slope), x) in y.iter_mut().zip(slope).zip(x) {
        let Normal { below, density } = normal::<FUSED>(*x);
        *y = *x * below;
        *slope = multiply_add::<FUSED>(*x, density, below);
    }
}

/// Computes `dx = upstream * slope` for rows of `dx_columns.len()` elements, and in `dx_columns`
/// the sum of `dx` over all rows. That sum is the gradient of the bias that was added to GELU's
/// input.
///
/// # Panics
/// When the slices differ in length.
pub fn gelu_gradient(
    pool: &dyn ThreadPool,
    upstream: &[f32],
    slope: &[f32],
    dx: &mut [f32],
    dx_columns: &mut [f32],
) {
    assert!(slope.len() == dx.len() && upstream.len() == dx.len(), "slices have the same length");
    let width = dx_columns.len().max(1);
    let mut sums = vec![0.0; dx.len().div_ceil(BLOCK * width) * width];
    let parts = dx.chunks_mut(BLOCK * width).zip(sums.chunks_mut(width)).collect();
    each_with(pool, parts, |block, (dx, sums)| {
        let range = block * BLOCK * width..block * BLOCK * width + dx.len();
        backward(&upstream[range.clone()], &slope[range], dx, sums);
    });
    columns::total(&sums, dx_columns);
}

for_every_width! { fn backward(upstream: &[f32], slope: &[f32], dx: &mut [f32], sums: &mut [f32]) = backward_body }

#[inline(always)]
fn backward_body<const FUSED: bool>(upstream: &[f32], slope: &[f32], dx: &mut [f32], sums: &mut [f32]) {
    let width = sums.len();
    let rows = slope.chunks_exact(width).zip(upstream.chunks_exact(width));
    for (dx, (slope, upstream)) in dx.chunks_exact_mut(width).zip(rows) {
        for (((dx, slope), upstream), sum) in dx.iter_mut().zip(slope).zip(upstream).zip(sums.iter_mut()) {
            *dx = upstream * slope;
            *sum += *dx;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread_pool::SingleThread;

    /// Returns distinct, unordered numbers.
    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|n| ((n * 7_919 + 13) % 10_007) as f32 / 1_000.0 - 5.0).collect()
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let x = numbers(96);
        let value = |x: f32| {
            let mut y = [0.0];
            gelu(&SingleThread, &[x], &mut y);
            f64::from(y[0])
        };
        let (mut slope, mut y) = (vec![0.0; 96], vec![0.0; 96]);
        gelu_with_slope(&SingleThread, &x, &mut y, &mut slope);
        let mut alone = vec![0.0; 96];
        gelu(&SingleThread, &x, &mut alone);
        assert_eq!(alone, y, "the result is the same bits when it is computed again");
        let (mut dx, mut columns) = (vec![0.0; 96], vec![0.0; 6]);
        gelu_gradient(&SingleThread, &[2.0; 96], &slope, &mut dx, &mut columns);
        for (x, dx) in x.iter().zip(&dx) {
            let slope = (value(x + 0.01) - value(x - 0.01)) / 0.02;
            assert!((f64::from(*dx) - 2.0 * slope).abs() < 2e-4, "at {x}: {dx}, not twice {slope}");
        }
        let first: f32 = dx.iter().step_by(6).sum();
        assert!((columns[0] - first).abs() < 1e-5);
    }

    #[test]
    fn every_width_agrees_with_the_plain_body() {
        let near = |a: &[f32], b: &[f32], most: f32| {
            a.iter().zip(b).all(|(a, b)| (a - b).abs() <= most * (1.0 + b.abs()))
        };
        let (x, mut slope, mut plain_slope) = (numbers(300), vec![0.0; 300], vec![0.0; 300]);
        let (mut wide, mut plain) = (vec![0.0; 300], vec![0.0; 300]);
        value(&x, &mut wide);
        value_body::<false>(&x, &mut plain);
        assert!(near(&wide, &plain, 1e-6));
        value_and_slope(&x, &mut wide, &mut slope);
        value_and_slope_body::<false>(&x, &mut plain, &mut plain_slope);
        assert!(near(&wide, &plain, 1e-6) && near(&slope, &plain_slope, 1e-6));
        let upstream = numbers(301).split_off(1);
        let (mut wide_sums, mut plain_sums) = (vec![0.0; 30], vec![0.0; 30]);
        backward(&upstream, &slope, &mut wide, &mut wide_sums);
        backward_body::<false>(&upstream, &slope, &mut plain, &mut plain_sums);
        assert!(near(&wide, &plain, 2e-6) && near(&wide_sums, &plain_sums, 1e-5));
    }
}
