//! The optimiser's arithmetic over slices, compiled once for each width of vector registers.
//!
//! One plain Rust body serves all widths, so every machine computes the same bits: no fused multiply-add, no
//! approximate root, and sums run in [`LANES`] fixed lanes whatever the registers hold.

/// Partial sums of a reduction. Enough to keep the adders of the widest registers busy.
const LANES: usize = 32;

/// One optimiser step's scalars.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub(super) gradient_scale: f32,
    pub(super) take_1: f32,
    pub(super) keep_2: f32,
    pub(super) take_2: f32,
    pub(super) root_correction: f32,
    pub(super) epsilon: f32,
    pub(super) step_size: f32,
    pub(super) kept: f32,
}

#[inline(always)]
fn apply_body(k: &Kernel, values: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]) {
    let each = values.iter_mut().zip(gradients).zip(first.iter_mut()).zip(second.iter_mut());
    for (((value, gradient), first), second) in each {
        let gradient = gradient * k.gradient_scale;
        *first += (gradient - *first) * k.take_1;
        *second = *second * k.keep_2 + gradient * gradient * k.take_2;
        let denominator = second.sqrt() / k.root_correction + k.epsilon;
        *value = *value * k.kept - k.step_size * (*first / denominator);
    }
}

#[inline(always)]
fn squares_body(numbers: &[f32]) -> f64 {
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

/// AdamW over slices of equal length.
pub(super) fn apply(
    k: &Kernel,
    values: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the function's one requirement, AVX-512F, was just found on this processor.
        return unsafe { wide::apply_512(k, values, gradients, first, second) };
    } else if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the function's one requirement, AVX2, was just found on this processor.
        return unsafe { wide::apply_256(k, values, gradients, first, second) };
    }
    apply_body(k, values, gradients, first, second);
}

/// Sum of squares in double precision.
pub(super) fn squares(numbers: &[f32]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the function's one requirement, AVX-512F, was just found on this processor.
        return unsafe { wide::squares_512(numbers) };
    } else if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the function's one requirement, AVX2, was just found on this processor.
        return unsafe { wide::squares_256(numbers) };
    }
    squares_body(numbers)
}

/// The same bodies, compiled for wider registers. Calling them is unsafe only on a processor without those.
#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{Kernel, apply_body, squares_body};

    #[target_feature(enable = "avx512f")]
    pub(super) fn apply_512(k: &Kernel, v: &mut [f32], g: &[f32], first: &mut [f32], second: &mut [f32]) {
        apply_body(k, v, g, first, second);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn apply_256(k: &Kernel, v: &mut [f32], g: &[f32], first: &mut [f32], second: &mut [f32]) {
        apply_body(k, v, g, first, second);
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn squares_512(numbers: &[f32]) -> f64 {
        squares_body(numbers)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn squares_256(numbers: &[f32]) -> f64 {
        squares_body(numbers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Apply = fn(&Kernel, &mut [f32], &[f32], &mut [f32], &mut [f32]);

    proptest! {
        #[test]
        fn every_width_computes_the_same_bits(
            numbers in prop::collection::vec((-10.0_f32..10.0, -1.0_f32..1.0, -1.0_f32..1.0, 0.0_f32..1.0), 0..200)
        ) {
            let column = |of: fn(&(f32, f32, f32, f32)) -> f32| numbers.iter().map(of).collect::<Vec<_>>();
            let gradients = column(|row| row.1);
            let kernel = Kernel {
                gradient_scale: 0.7, take_1: 0.1, keep_2: 0.999, take_2: 0.001, root_correction: 0.3,
                epsilon: 1e-8, step_size: 1e-2, kept: 0.999,
            };
            let run = |apply: Apply| {
                let (mut values, mut first, mut second) =
                    (column(|row| row.0), column(|row| row.2), column(|row| row.3));
                apply(&kernel, &mut values, &gradients, &mut first, &mut second);
                [values, first, second].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            prop_assert_eq!(run(apply), run(apply_body));
            prop_assert_eq!(squares(&gradients).to_bits(), squares_body(&gradients).to_bits());
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                prop_assert_eq!(
                    // SAFETY: AVX2 was just found on this processor.
                    run(|k, v, g, first, second| unsafe { wide::apply_256(k, v, g, first, second) }),
                    run(apply_body)
                );
                // SAFETY: AVX2 was just found on this processor.
                prop_assert_eq!(unsafe { wide::squares_256(&gradients) }.to_bits(), squares_body(&gradients).to_bits());
            }
        }
    }
}
