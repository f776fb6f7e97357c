//! Layer normalization of rows and its gradients.

use super::columns::{self, BLOCK};
use super::thread_pool::{ThreadPool, each_with};
use super::width::for_every_width;

/// Statistics of each row that the backward pass needs.
pub struct NormStatistics<'a> {
    /// Mean of each row, `[rows]`.
    pub mean: &'a mut [f32],
    /// Inverse standard deviation of each row, `[rows]`.
    pub inverse_deviation: &'a mut [f32],
}

/// Computes `y = (x - mean) / deviation * scale + shift` for `x` and `y` `[rows, width]`, `scale`
/// and `shift` `[width]`.
///
/// # Panics
/// When the lengths of the slices don't match these shapes.
pub fn layer_norm(
    pool: &dyn ThreadPool,
    x: &[f32],
    (scale, shift): (&[f32], &[f32]),
    epsilon: f32,
    y: &mut [f32],
    statistics: NormStatistics<'_>,
) {
    let width = scale.len();
    let NormStatistics { mean, inverse_deviation } = statistics;
    assert!(x.len() == y.len() && x.len() == mean.len() * width && shift.len() == width, "rows of {width}");
    assert_eq!(mean.len(), inverse_deviation.len(), "each row has a mean and an inverse deviation");
    let parts = y
        .chunks_mut(BLOCK * width)
        .zip(x.chunks(BLOCK * width))
        .zip(mean.chunks_mut(BLOCK).zip(inverse_deviation.chunks_mut(BLOCK)))
        .collect();
    each_with(pool, parts, |_, ((y, x), (mean, inverse))| {
        forward(x, scale, shift, epsilon, y, mean, inverse)
    });
}

for_every_width! {
    fn forward(
        x: &[f32], scale: &[f32], shift: &[f32], epsilon: f32,
        y: &mut [f32], mean: &mut [f32], inverse: &mut [f32],
    ) = forward_body
}

/// Number of partial sums in a reduction along a row.
const LANES: usize = 16;

/// Sums a function of each element and its index, in fixed lanes.
#[inline(always)]
fn sum(row: &[f32], of: impl Fn(usize, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for (number, chunk) in chunks.iter().enumerate() {
        for lane in 0..LANES {
            lanes[lane] += of(number * LANES + lane, chunk[lane]);
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        lanes[lane] += of(chunks.len() * LANES + lane, *x);
    }
    lanes.iter().sum()
}

#[inline(always)]
fn forward_body<const FUSED: bool>(
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    epsilon: f32,
    y: &mut [f32],
    mean: &mut [f32],
    inverse: &mut [f32],
) {
    let width = scale.len();
    let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
    for ((y, x), (mean, inverse)) in rows.zip(mean.iter_mut().zip(inverse.iter_mut())) {
        let middle = sum(x, |_, x| x) / width as f32;
        let variance = sum(x, |_, x| (x - middle) * (x - middle)) / width as f32;
        (*mean, *inverse) = (middle, 1.0 / (variance + epsilon).sqrt());
        for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
            *y = (x - middle) * *inverse * scale + shift;
        }
    }
}

/// Outputs of [`layer_norm_gradient`].
pub struct NormGradients<'a> {
    /// Gradient of the input, `[rows, width]`.
    pub x: &'a mut [f32],
    /// Gradient of the scale, `[width]`.
    pub scale: &'a mut [f32],
    /// Gradient of the shift, `[width]`.
    pub shift: &'a mut [f32],
    /// Sum of `x` over all rows, `[width]`: the gradient of a bias that was added to the input.
    pub x_columns: &'a mut [f32],
}

/// Computes the gradients of [`layer_norm`].
///
/// With `h = (x - mean) / deviation` and `g = upstream * scale`:
/// `dx = (g - mean(g) - h * mean(g * h)) / deviation`, `dscale = sum(upstream * h)`,
/// `dshift = sum(upstream)`.
///
/// # Panics
/// When the lengths of the slices don't match these shapes.
pub fn layer_norm_gradient(
    pool: &dyn ThreadPool,
    upstream: &[f32],
    x: &[f32],
    scale: &[f32],
    (mean, inverse_deviation): (&[f32], &[f32]),
    gradients: NormGradients<'_>,
) {
    let width = scale.len();
    let rows = mean.len();
    assert!(rows == inverse_deviation.len() && x.len() == rows * width, "rows of {width}");
    assert!(upstream.len() == x.len() && gradients.x.len() == x.len(), "slices have the same length");
    let mut sums = vec![0.0; rows.div_ceil(BLOCK) * 3 * width];
    let parts = gradients.x.chunks_mut(BLOCK * width).zip(sums.chunks_mut(3 * width)).collect();
    each_with(pool, parts, |block, (dx, sums)| {
        let first = block * BLOCK;
        let range = first * width..first * width + dx.len();
        let of = first..first + dx.len() / width;
        let (mean, inverse) = (&mean[of.clone()], &inverse_deviation[of]);
        backward(&upstream[range.clone()], &x[range], scale, mean, inverse, dx, sums);
    });
    let mut all = vec![0.0; 3 * width];
    columns::total(&sums, &mut all);
    gradients.scale.copy_from_slice(&all[..width]);
    gradients.shift.copy_from_slice(&all[width..2 * width]);
    gradients.x_columns.copy_from_slice(&all[2 * width..]);
}

for_every_width! {
    fn backward(
        upstream: &[f32], x: &[f32], scale: &[f32], mean: &[f32], inverse: &[f32],
        dx: &mut [f32], sums: &mut [f32],
    ) = backward_body
}

#[inline(always)]
fn backward_body<const FUSED: bool>(
    upstream: &[f32],
    x: &[f32],
    scale: &[f32],
    mean: &[f32],
    inverse: &[f32],
    dx: &mut [f32],
    sums: &mut [f32],
) {
    let width = scale.len();
    let (dscale, rest) = sums.split_at_mut(width);
    let (dshift, dx_columns) = rest.split_at_mut(width);
    let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(upstream.chunks_exact(width));
    for (((dx, x), upstream), (mean, inverse)) in rows.zip(mean.iter().zip(inverse)) {
        let (x, scale) = (&x[..width], &scale[..width]);
        let mean_g = sum(upstream, |at, up| up * scale[at]) / width as f32;
        let mean_g_normal =
            sum(upstream, |at, up| up * scale[at] * ((x[at] - mean) * inverse)) / width as f32;
        let sums = dscale.iter_mut().zip(dshift.iter_mut()).zip(dx_columns.iter_mut());
        for ((((dx, x), upstream), scale), ((dscale, dshift), columns)) in
            dx.iter_mut().zip(x).zip(upstream).zip(scale).zip(sums)
        {
            let normal = (x - mean) * inverse;
            *dx = (upstream * scale - mean_g - normal * mean_g_normal) * inverse;
            *dscale += upstream * normal;
            *dshift += upstream;
            *columns += *dx;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::numbers;
    use crate::thread_pool::SingleThread;

    /// Returns `sum(weights * layer_norm(x))` in double precision.
    fn value(x: &[f64], scale: &[f64], shift: &[f64], weights: &[f64]) -> f64 {
        let width = scale.len();
        let of_row = |(x, weights): (&[f64], &[f64])| {
            let mean = x.iter().sum::<f64>() / width as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let each = x.iter().zip(scale).zip(shift).zip(weights);
            each.map(|(((x, scale), shift), weight)| {
                weight * ((x - mean) / (variance + 1e-12).sqrt() * scale + shift)
            })
            .sum::<f64>()
        };
        x.chunks(width).zip(weights.chunks(width)).map(of_row).sum()
    }

    #[test]
    fn gradients_are_the_slopes_of_the_result() {
        let (width, rows) = (21, 50);
        let (x, weights) = (numbers(width * rows, 613), numbers(width * rows, 377));
        let (scale, shift) = (numbers(width, 71), numbers(width, 37));
        let (mut y, mut mean, mut inverse) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
        let statistics = NormStatistics { mean: &mut mean, inverse_deviation: &mut inverse };
        layer_norm(&SingleThread, &x, (&scale, &shift), 1e-12, &mut y, statistics);
        let double = |numbers: &[f32]| numbers.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
        let (x64, scale64, shift64, weights64) =
            (double(&x), double(&scale), double(&shift), double(&weights));
        let found: f64 = y.iter().zip(&weights).map(|(y, weight)| f64::from(*y) * f64::from(*weight)).sum();
        let exact = value(&x64, &scale64, &shift64, &weights64);
        assert!((found - exact).abs() < 1e-3, "{found}, not {exact}");

        let (mut dx, mut dscale, mut dshift, mut columns) =
            (vec![0.0; x.len()], vec![0.0; width], vec![0.0; width], vec![0.0; width]);
        let gradients =
            NormGradients { x: &mut dx, scale: &mut dscale, shift: &mut dshift, x_columns: &mut columns };
        layer_norm_gradient(&SingleThread, &weights, &x, &scale, (&mean, &inverse), gradients);
        let slope = |of: &[f64], at: usize, value: &dyn Fn(&[f64]) -> f64| {
            let (mut up, mut down) = (of.to_vec(), of.to_vec());
            up[at] += 1e-5;
            down[at] -= 1e-5;
            (value(&up) - value(&down)) / 2e-5
        };
        for at in (0..x.len()).step_by(17) {
            let exact = slope(&x64, at, &|x| value(x, &scale64, &shift64, &weights64));
            assert!((f64::from(dx[at]) - exact).abs() < 2e-4 * (1.0 + exact.abs()), "{} {exact}", dx[at]);
        }
        for at in 0..width {
            let exact = slope(&scale64, at, &|scale| value(&x64, scale, &shift64, &weights64));
            assert!((f64::from(dscale[at]) - exact).abs() < 2e-4 * (1.0 + exact.abs()));
            let exact = slope(&shift64, at, &|shift| value(&x64, &scale64, shift, &weights64));
            assert!((f64::from(dshift[at]) - exact).abs() < 2e-4 * (1.0 + exact.abs()));
            let sum: f32 = dx.iter().skip(at).step_by(width).sum();
            assert!((columns[at] - sum).abs() < 1e-4);
        }
    }
}
