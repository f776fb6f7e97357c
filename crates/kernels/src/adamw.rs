//! AdamW over slices, and the squared norm of a gradient.
//!
//! Results are bit-identical on every machine: there is no fused multiply-add and no approximate
//! square root (which gave NaN on tiny second moments), and sums run in [`LANES`] fixed lanes
//! whatever the register width.

use super::width::for_every_width;

/// Number of partial sums in a reduction, enough to keep the adders of the widest registers busy.
const LANES: usize = 32;

/// Scalars of one optimizer step, as PyTorch's `torch.optim.AdamW` computes them.
#[derive(Debug, Clone, Copy)]
pub struct AdamWStep {
    /// Factor that every gradient is multiplied by first (clipping).
    pub gradient_scale: f32,
    /// `1 - beta_1`, the weight of a gradient in the first moment.
    pub take_1: f32,
    /// `beta_2`, the decay factor of the second moment.
    pub keep_2: f32,
    /// `1 - beta_2`, the weight of a squared gradient in the second moment.
    pub take_2: f32,
    /// Square root of the second moment's bias correction.
    pub root_correction: f32,
    /// Term added to the square root of the second moment.
    pub epsilon: f32,
    /// Learning rate divided by the first moment's bias correction.
    pub step_size: f32,
    /// Factor that weight decay multiplies each value by.
    pub decay_factor: f32,
}

for_every_width! {
    /// Updates slices of equal length, on the calling thread.
    pub fn adamw(
        step: &AdamWStep, values: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32],
    ) = adamw_body
}

#[inline(always)]
fn adamw_body<const FUSED: bool>(
    k: &AdamWStep,
    values: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let each = values.iter_mut().zip(gradients).zip(first.iter_mut()).zip(second.iter_mut());
    for (((value, gradient), first), second) in each {
        let gradient = gradient * k.gradient_scale;
        *first += (gradient - *first) * k.take_1;
        *second = *second * k.keep_2 + gradient * gradient * k.take_2;
        let denominator = second.sqrt() / k.root_correction + k.epsilon;
        *value = *value * k.decay_factor - k.step_size * (*first / denominator);
    }
}

for_every_width! {
    /// Returns the sum of squares in double precision, computed on the calling thread.
    pub fn squares(numbers: &[f32]) -> f64 = squares_body
}

#[inline(always)]
fn squares_body<const FUSED: bool>(numbers: &[f32]) -> f64 {
    let mut sums = [0.0_f64; LANES];
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, number) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*number) * f64::from(*number);
        }
    }
    for (sum, number) in sums.iter_mut().zip(rest) {
        *sum += f64::from(*number) * f64::from(*number);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Apply = fn(&AdamWStep, &mut [f32], &[f32], &mut [f32], &mut [f32]);

    proptest! {
        #[test]
        fn every_width_computes_the_same_bits(
            numbers in prop::collection::vec((-10.0_f32..10.0, -1.0_f32..1.0, -1.0_f32..1.0, 0.0_f32..1.0), 0..200)
        ) {
            let column = |of: fn(&(f32, f32, f32, f32)) -> f32| numbers.iter().map(of).collect::<Vec<_>>();
            let gradients = column(|row| row.1);
            let step = AdamWStep {
                gradient_scale: 0.7, take_1: 0.1, keep_2: 0.999, take_2: 0.001, root_correction: 0.3,
                epsilon: 1e-8, step_size: 1e-2, decay_factor: 0.999,
            };
            let run = |apply: Apply| {
                let (mut values, mut first, mut second) =
                    (column(|row| row.0), column(|row| row.2), column(|row| row.3));
                apply(&step, &mut values, &gradients, &mut first, &mut second);
                [values, first, second].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            prop_assert_eq!(run(adamw), run(adamw_body::<false>));
            prop_assert_eq!(squares(&gradients).to_bits(), squares_body::<false>(&gradients).to_bits());
        }
    }
}
