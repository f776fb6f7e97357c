//! Scalar functions without branches, so that the compiler can vectorize loops over them.
//!
//! Each result is within a few units in the last place of the exact value. The tests compare the
//! results with double precision.

/// Returns `a * b + c`, with a single rounding when the processor has fused multiply-add.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Returns `e^x`, with `x` clamped to -87 (where the result is under 2e-38) and 88.
///
/// The method writes `x = n ln 2 + r` with an integer `n`. The power of two goes into the exponent
/// bits, and a polynomial of degree six (Cephes' `expf`) computes `e^r` for `|r| <= ln 2 / 2`.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Adding this number leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FUSED>(n, -0.693_359_4, x);
    let r = multiply_add::<FUSED>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = multiply_add::<FUSED>(p, r, coefficient);
    }
    let p = multiply_add::<FUSED>(p, r * r, r) + 1.0;
    p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// The standard normal distribution at a point.
pub(crate) struct Normal {
    /// Cumulative probability up to the point.
    pub(crate) below: f32,
    /// Density at the point.
    pub(crate) density: f32,
}

/// Returns the standard normal distribution at `x`. Both values share one exponential.
///
/// The probability beyond `t = |x|` is the density times Mills' ratio (Abramowitz and Stegun 26.2;
/// their 26.2.17 is a shorter polynomial of the same kind). Here the ratio is `u P(u)`, with
/// `u = 1 / (1 + 0.3 t)` and a polynomial `P` of degree seven that is accurate to 5e-8 up to
/// `t = 10`.
#[inline(always)]
pub(crate) fn normal<const FUSED: bool>(x: f32) -> Normal {
    const PEAK: f32 = 0.398_942_3;
    let density = PEAK * exp::<FUSED>(-0.5 * x * x);
    let u = 1.0 / multiply_add::<FUSED>(x.abs(), 0.3, 1.0);
    let mut p = 9.411_918e-2_f32;
    for coefficient in [
        -4.137_889e-1,
        5.516_734e-1,
        -1.667_535_3e-1,
        3.396_4e-1,
        2.450_378_5e-1,
        3.035_808_2e-1,
        2.998_053_7e-1,
    ] {
        p = multiply_add::<FUSED>(p, u, coefficient);
    }
    let beyond = density * (p * u);
    Normal { below: if x < 0.0 { beyond } else { 1.0 - beyond }, density }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `1 - erf(x)` in double precision, from the error function's series or from the
    /// continued fraction of its complement.
    fn exact_complement(x: f64) -> f64 {
        let t = x.abs();
        let of_t = if t < 2.0 {
            let (mut term, mut sum) = (t, t);
            for n in 1..100 {
                term *= -t * t / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            1.0 - sum * 2.0 / std::f64::consts::PI.sqrt()
        } else {
            let fraction = (1..60).rev().fold(t, |below, n| t + f64::from(n) / 2.0 / below);
            (-t * t).exp() / fraction / std::f64::consts::PI.sqrt()
        };
        if x < 0.0 { 2.0 - of_t } else { of_t }
    }

    fn range(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (0..=200_000).map(move |step| from + (to - from) * step as f32 / 200_000.0)
    }

    #[test]
    fn exp_is_exact_to_a_few_units_in_the_last_place() {
        for x in range(-87.0, 88.0) {
            let exact = f64::from(x).exp();
            for found in [exp::<true>(x), exp::<false>(x)] {
                assert!((f64::from(found) / exact - 1.0).abs() < 3e-7, "exp({x}) = {found}, not {exact}");
            }
        }
        assert!(exp::<true>(-1e9) < 2e-38, "a masked score contributes nothing");
        assert_eq!(exp::<true>(0.0), 1.0);
    }

    #[test]
    fn the_normal_distribution_is_exact_to_a_few_units_in_the_last_place() {
        for x in range(-6.0, 6.0).step_by(7) {
            let (exact_x, root) = (f64::from(x), std::f64::consts::SQRT_2);
            let density = (-0.5 * exact_x * exact_x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let below = 0.5 * exact_complement(-exact_x / root);
            for found in [normal::<true>(x), normal::<false>(x)] {
                let off = (f64::from(found.below) - below).abs();
                // Rounding of the density's exponent matters far from 0: there both values are only
                // as accurate as that exponent.
                let far = 1.0 + exact_x * exact_x;
                assert!(off <= 2e-7 && off <= 6e-7 * far * below, "below {x}: {}, not {below}", found.below);
                let off = (f64::from(found.density) - density).abs();
                assert!(off <= 2e-7 * far * density, "density at {x}: {}, not {density}", found.density);
            }
        }
        let (low, high) = (normal::<true>(-1e9), normal::<true>(1e9));
        assert!(low.below == 0.0 && high.below == 1.0 && high.density < 1e-37, "no density far from 0");
        assert!(normal::<true>(f32::NAN).below.is_nan(), "NaN stays NaN");
    }
}
