//! Functions of one number without branches, so that loops over them become vector instructions.
//!
//! Each is within a few units in the last place of the exact value; the tests hold them to double precision.

/// `a * b + c`, rounded once where the processor can.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `e^x` for `x` up to 88; 0 (or the smallest numbers) below -87.
///
/// `x = n ln 2 + r` with a whole `n`: the power of two goes into the exponent's bits, and a polynomial of degree six
/// (Cephes' `expf`) has `e^r` for `|r| <= ln 2 / 2`.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Adding this number leaves the nearest whole number in the lowest bits.
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

/// The error function.
///
/// Near zero an odd polynomial; elsewhere `1 - e^q(|x|)` with a polynomial `q` (N. Juffa's `erff`).
#[inline(always)]
pub(crate) fn erf<const FUSED: bool>(x: f32) -> f32 {
    let (t, s) = (x.abs(), x * x);
    let near = {
        let mut p = -5.967_617e-4_f32;
        for coefficient in [4.991_194e-3, -2.676_813_5e-2, 1.128_199_2e-1, -3.761_253_4e-1, 1.283_791_7e-1] {
            p = multiply_add::<FUSED>(p, s, coefficient);
        }
        multiply_add::<FUSED>(p, x, x)
    };
    let far = {
        let p = multiply_add::<FUSED>(-1.728_534_7e-5, t, 3.831_972_6e-4);
        let u = multiply_add::<FUSED>(-3.883_964_4e-3, t, 2.425_462_2e-2);
        let mut p = multiply_add::<FUSED>(p, s, u);
        for coefficient in [-1.067_778_8e-1, -6.348_466_9e-1, -1.287_175_1e-1] {
            p = multiply_add::<FUSED>(p, t, coefficient);
        }
        let p = multiply_add::<FUSED>(p, t, -t);
        (1.0 - exp::<FUSED>(p)).copysign(x)
    };
    if t > 0.927_734_4 { far } else { near }
}

/// Probability that a normally distributed number is below `x`.
#[inline(always)]
pub(crate) fn normal_below<const FUSED: bool>(x: f32) -> f32 {
    multiply_add::<FUSED>(erf::<FUSED>(x * std::f32::consts::FRAC_1_SQRT_2), 0.5, 0.5)
}

/// Density of the normal distribution at `x`.
#[inline(always)]
pub(crate) fn normal_density<const FUSED: bool>(x: f32) -> f32 {
    const PEAK: f32 = 0.398_942_3;
    PEAK * exp::<FUSED>(-0.5 * x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `erf` in double precision, by its series or the continued fraction of its complement.
    fn exact_erf(x: f64) -> f64 {
        let t = x.abs();
        if t < 3.0 {
            let (mut term, mut sum) = (t, t);
            for n in 1..200 {
                term *= -t * t / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            return (sum * 2.0 / std::f64::consts::PI.sqrt()).copysign(x);
        }
        let fraction = (1..60).rev().fold(t, |below, n| t + f64::from(n) / 2.0 / below);
        (1.0 - (-t * t).exp() / fraction / std::f64::consts::PI.sqrt()).copysign(x)
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
        assert!(exp::<true>(-1e9) < 2e-38, "a masked score must not count");
        assert_eq!(exp::<true>(0.0), 1.0);
    }

    #[test]
    fn erf_is_exact_to_a_few_units_in_the_last_place() {
        for x in range(-6.0, 6.0) {
            let exact = exact_erf(f64::from(x));
            for found in [erf::<true>(x), erf::<false>(x)] {
                let off = (f64::from(found) - exact).abs();
                assert!(off <= 2e-7 * exact.abs() + 1e-30, "erf({x}) = {found}, not {exact}");
            }
        }
    }

    #[test]
    fn the_normal_distribution_is_its_own_derivative() {
        for x in range(-5.0, 5.0).step_by(101) {
            let exact = 0.5 * (1.0 + exact_erf(f64::from(x) / 2.0_f64.sqrt()));
            assert!((f64::from(normal_below::<true>(x)) - exact).abs() < 1.2e-7);
            let density = (-0.5 * f64::from(x) * f64::from(x)).exp() / (2.0 * std::f64::consts::PI).sqrt();
            assert!((f64::from(normal_density::<true>(x)) - density).abs() < 1e-7);
        }
    }
}
