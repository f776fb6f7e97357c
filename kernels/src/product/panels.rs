//! Copies of factors in the order that tiles read them.

use std::arch::x86_64::{
    _MM_HINT_T0, _mm_prefetch, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps,
    _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::matrix::Matrix;
use super::tile::{COLUMNS, ROWS};
use crate::width::{Avx2, for_every_width};

/// The side of what is turned in registers.
const SQUARE: usize = 8;
/// So many rows before they are copied, they are asked for.
const ROWS_AHEAD: usize = 8;

/// Copies `b` as `[panels, depth, COLUMNS]`; columns that aren't there become 0.
pub(super) fn write_panels(avx2: Avx2, b: Matrix<'_>, panels: &mut [f32]) {
    let whole = b.columns / COLUMNS * COLUMNS;
    match b.row_stride == 1 {
        true => turn(avx2, b.columns(&(0..whole)), panels),
        false => copy(b.columns(&(0..whole)), panels),
    }
    if whole < b.columns {
        let rest = &mut panels[whole * b.rows..];
        for (depth, numbers) in rest.chunks_exact_mut(COLUMNS).enumerate() {
            for (column, number) in numbers.iter_mut().enumerate() {
                let at = depth * b.row_stride + (whole + column) * b.column_stride;
                *number = if whole + column < b.columns { b.data[at] } else { 0.0 };
            }
        }
    }
}

for_every_width! {
    /// Writes whole panels of a `b` whose rows lie whole, row by row: a panel of its own would fetch a line of the cache from
    /// each row, and wait for most.
    fn copy(b: Matrix<'_>, panels: &mut [f32]) = copy_body
}

#[inline(always)]
fn copy_body<const FUSED: bool>(b: Matrix<'_>, panels: &mut [f32]) {
    for depth in 0..b.rows {
        let row = &b.data[depth * b.row_stride..][..b.columns];
        for (panel, numbers) in row.as_chunks::<COLUMNS>().0.iter().enumerate() {
            ask_for(numbers, ROWS_AHEAD * b.row_stride);
            panels[(panel * b.rows + depth) * COLUMNS..][..COLUMNS].copy_from_slice(numbers);
        }
    }
}

/// Writes whole panels of a `b` whose columns lie whole.
fn turn(avx2: Avx2, b: Matrix<'_>, panels: &mut [f32]) {
    let in_squares = b.rows / SQUARE * SQUARE;
    for (number, panel) in
        panels.chunks_exact_mut((b.rows * COLUMNS).max(1)).take(b.columns / COLUMNS).enumerate()
    {
        let columns = &b.data[number * COLUMNS * b.column_stride..];
        for depth in (0..in_squares).step_by(SQUARE) {
            for first in (0..COLUMNS).step_by(SQUARE) {
                let from = &columns[first * b.column_stride + depth..];
                turn_square(avx2, from, b.column_stride, &mut panel[depth * COLUMNS + first..]);
            }
        }
        for depth in in_squares..b.rows {
            for (column, number) in panel[depth * COLUMNS..][..COLUMNS].iter_mut().enumerate() {
                *number = columns[column * b.column_stride + depth];
            }
        }
    }
}

/// Writes [`SQUARE`] rows of as many numbers, `stride` apart, as columns of a panel.
#[inline(always)]
fn turn_square(_: Avx2, rows: &[f32], stride: usize, columns: &mut [f32]) {
    assert!(
        (SQUARE - 1) * stride + SQUARE <= rows.len() && (SQUARE - 1) * COLUMNS + SQUARE <= columns.len(),
        "a square on both sides"
    );
    // SAFETY: the processor has the instructions (`Avx2` is the proof), and both squares are there, as was just found.
    unsafe { turn_in_registers(rows.as_ptr(), stride, columns.as_mut_ptr()) }
}

/// # Safety
/// There are squares on both sides.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn turn_in_registers(rows: *const f32, stride: usize, columns: *mut f32) {
    // SAFETY: one of the square's rows, for which the caller answers.
    let rows: [_; SQUARE] = std::array::from_fn(|row| unsafe { _mm256_loadu_ps(rows.add(row * stride)) });
    // Pairs of rows, number by number: those of the lower and the upper half of each 128 bits.
    let pairs = [0, 2, 4, 6].map(|row| {
        [_mm256_unpacklo_ps(rows[row], rows[row + 1]), _mm256_unpackhi_ps(rows[row], rows[row + 1])]
    });
    for half in [0, 1] {
        let [a, b, c, d] = pairs.map(|pair| pair[half]);
        for (column, [upper, lower]) in [
            [_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0x44>(c, d)],
            [_mm256_shuffle_ps::<0xee>(a, b), _mm256_shuffle_ps::<0xee>(c, d)],
        ]
        .into_iter()
        .enumerate()
        {
            let column = half * 2 + column;
            let both =
                [_mm256_permute2f128_ps::<0x20>(upper, lower), _mm256_permute2f128_ps::<0x31>(upper, lower)];
            for (half, numbers) in both.into_iter().enumerate() {
                // SAFETY: one of the square's columns, for which the caller answers.
                unsafe { _mm256_storeu_ps(columns.add((column + half * SQUARE / 2) * COLUMNS), numbers) };
            }
        }
    }
}

for_every_width! {
    /// Copies rows as `[strips, depth, ROWS]`; rows that aren't there become 0.
    pub(super) fn write_strips(a: Matrix<'_>, strips: &mut [f32]) = write_strips_body
}

#[inline(always)]
fn write_strips_body<const FUSED: bool>(a: Matrix<'_>, strips: &mut [f32]) {
    for (number, strip) in strips.chunks_exact_mut((ROWS * a.columns).max(1)).enumerate() {
        let first = number * ROWS;
        let rows = (a.rows - first).min(ROWS);
        for (depth, to) in strip.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            let from = &a.data[first * a.row_stride + depth * a.column_stride..];
            // The next strips' numbers, where they lie behind these.
            ask_for(from, 2 * COLUMNS);
            match from.first_chunk() {
                Some(from) if a.row_stride == 1 && rows == ROWS => *to = *from,
                _ => {
                    for (row, to) in to.iter_mut().enumerate() {
                        *to = if row < rows { from[row * a.row_stride] } else { 0.0 };
                    }
                }
            }
        }
    }
}

/// Has what lies `ahead` numbers behind the first of these brought into the nearest cache, if there is anything.
#[inline(always)]
fn ask_for(numbers: &[f32], ahead: usize) {
    // SAFETY: every x86-64 processor has the instruction, which reads nothing and is harmless at any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(numbers.as_ptr().wrapping_add(ahead).cast()) }
}
