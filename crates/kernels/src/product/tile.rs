//! A tile of a product in AVX2 registers. Twelve registers hold 6 by 16 sums, two hold 16 values of
//! `b`, and two hold one value of `a` each.
//!
//! Twelve chains of sums keep both multipliers busy (four cycles of latency, two operations a
//! cycle), and ten loads for twelve multiplications don't saturate the load ports. The loop is
//! written in assembly because compilers keep only some versions of it in registers: the same loop
//! in intrinsics fell from 80 to 37 GFLOP/s when code around it changed.

use std::arch::asm;
use std::arch::x86_64::{
    _MM_HINT_T0, _mm_prefetch, _mm256_add_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

use crate::width::Avx2;

/// Number of rows of a tile.
pub(super) const ROWS: usize = 6;
/// Number of columns of a tile.
pub(super) const COLUMNS: usize = 16;

/// Rows of `a` for a tile. The element of row `r` and depth `k` is at
/// `r * row_stride + k * depth_stride`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strip<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) row_stride: usize,
    pub(super) depth_stride: usize,
}

/// The values that a tile's product is added to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Onto<'a> {
    /// The tile's current values.
    Itself,
    /// Up to two slices, each with its row stride.
    These([Option<(&'a [f32], usize)>; 2]),
}

impl Onto<'_> {
    /// Nothing.
    pub(super) const NOTHING: Self = Self::These([None, None]);
}

/// Sets the [`ROWS`] by [`COLUMNS`] elements at `tile`, whose rows are `stride` apart, to the sum
/// of `onto` and the product of a strip and a panel `[depth, COLUMNS]`.
///
/// # Safety
/// The tile's elements must be valid for writes, and for reads with [`Onto::Itself`]. No other
/// thread may access them during the call.
///
/// # Panics
/// When the strip is less deep than the panel, or a slice of `onto` has fewer elements than a tile.
#[inline]
pub(super) unsafe fn multiply(
    _: Avx2,
    strip: Strip<'_>,
    panel: &[f32],
    tile: *mut f32,
    stride: usize,
    onto: Onto<'_>,
) {
    let depth = panel.len() / COLUMNS;
    if let Some(last) = depth.checked_sub(1) {
        let reaches = (ROWS - 1) * strip.row_stride + last * strip.depth_stride;
        assert!(reaches < strip.numbers.len(), "the strip is as deep as the panel");
    }
    if let Onto::These(these) = onto {
        let whole = |(numbers, stride): &(&[f32], usize)| (ROWS - 1) * stride + COLUMNS <= numbers.len();
        assert!(these.iter().flatten().all(whole), "onto has a value for each element of the tile");
    }
    // SAFETY: the processor has the instructions (`Avx2` is the proof). The assertions have just
    // checked every element that is read from the strip and from `onto`, the panel has `depth`
    // times `COLUMNS` elements, and the caller guarantees the tile.
    unsafe { in_registers(depth, strip, panel.as_ptr(), tile, stride, onto) }
}

/// # Safety
/// The requirements of [`multiply`] hold, both factors are `depth` deep, and each slice of `onto`
/// has a tile's elements.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn in_registers(
    depth: usize,
    strip: Strip<'_>,
    panel: *const f32,
    tile: *mut f32,
    stride: usize,
    onto: Onto<'_>,
) {
    let zero = _mm256_setzero_ps();
    let [mut a0, mut b0, mut a1, mut b1, mut a2, mut b2, mut a3, mut b3, mut a4, mut b4, mut a5, mut b5] =
        [zero; 12];
    for row in 0..ROWS {
        // The tile's memory arrives while the sums are computed. A prefetch is harmless at any
        // address.
        for column in [0, COLUMNS - 1] {
            _mm_prefetch::<_MM_HINT_T0>(tile.wrapping_add(row * stride + column).cast());
        }
    }
    let first = strip.numbers.as_ptr();
    // SAFETY: each of the `depth` iterations reads two vectors of the panel and six elements of the
    // strip, three from `upper` on and three from `lower` on. Both pointers then advance by one
    // element in depth. The caller guarantees that all these elements exist. The assembly writes
    // nothing to memory.
    unsafe {
        asm!(
            "test {depth}, {depth}",
            "jz 3f",
            "2:",
            "vmovups {left}, [{panel}]",
            "vmovups {right}, [{panel} + 32]",
            "vbroadcastss {even}, [{upper}]",
            "vbroadcastss {odd}, [{upper} + {row}]",
            "vfmadd231ps {a0}, {even}, {left}",
            "vfmadd231ps {b0}, {even}, {right}",
            "vbroadcastss {even}, [{upper} + 2*{row}]",
            "vfmadd231ps {a1}, {odd}, {left}",
            "vfmadd231ps {b1}, {odd}, {right}",
            "vbroadcastss {odd}, [{lower}]",
            "vfmadd231ps {a2}, {even}, {left}",
            "vfmadd231ps {b2}, {even}, {right}",
            "vbroadcastss {even}, [{lower} + {row}]",
            "vfmadd231ps {a3}, {odd}, {left}",
            "vfmadd231ps {b3}, {odd}, {right}",
            "vbroadcastss {odd}, [{lower} + 2*{row}]",
            "vfmadd231ps {a4}, {even}, {left}",
            "vfmadd231ps {b4}, {even}, {right}",
            "add {upper}, {deeper}",
            "add {lower}, {deeper}",
            "add {panel}, 64",
            "vfmadd231ps {a5}, {odd}, {left}",
            "vfmadd231ps {b5}, {odd}, {right}",
            "dec {depth}",
            "jnz 2b",
            "3:",
            depth = inout(reg) depth => _,
            panel = inout(reg) panel => _,
            upper = inout(reg) first => _,
            lower = inout(reg) first.wrapping_add(3 * strip.row_stride) => _,
            row = in(reg) strip.row_stride * size_of::<f32>(),
            deeper = in(reg) strip.depth_stride * size_of::<f32>(),
            a0 = inout(ymm_reg) a0, b0 = inout(ymm_reg) b0,
            a1 = inout(ymm_reg) a1, b1 = inout(ymm_reg) b1,
            a2 = inout(ymm_reg) a2, b2 = inout(ymm_reg) b2,
            a3 = inout(ymm_reg) a3, b3 = inout(ymm_reg) b3,
            a4 = inout(ymm_reg) a4, b4 = inout(ymm_reg) b4,
            a5 = inout(ymm_reg) a5, b5 = inout(ymm_reg) b5,
            left = out(ymm_reg) _,
            right = out(ymm_reg) _,
            even = out(ymm_reg) _,
            odd = out(ymm_reg) _,
            options(readonly, nostack),
        );
    }
    let mut sums = [[a0, b0], [a1, b1], [a2, b2], [a3, b3], [a4, b4], [a5, b5]];
    let mut add = |numbers: *const f32, stride: usize| {
        for (row, sums) in sums.iter_mut().enumerate() {
            for (half, sum) in sums.iter_mut().enumerate() {
                // SAFETY: these are eight elements of the tile, or of a slice as large, which the
                // caller guarantees.
                let more = unsafe { _mm256_loadu_ps(numbers.add(row * stride + half * COLUMNS / 2)) };
                *sum = _mm256_add_ps(*sum, more);
            }
        }
    };
    match onto {
        Onto::Itself => add(tile, stride),
        Onto::These(these) => {
            these.iter().flatten().for_each(|(numbers, stride)| add(numbers.as_ptr(), *stride))
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (half, sum) in sums.into_iter().enumerate() {
            // SAFETY: these are eight elements of the tile, which the caller guarantees.
            unsafe { _mm256_storeu_ps(tile.add(row * stride + half * COLUMNS / 2), sum) };
        }
    }
}
