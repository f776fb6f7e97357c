//! Copies of factors, in the order in which tiles read them.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use super::matrix::Matrix;
use super::tile::{COLUMNS, ROWS};
use crate::transpose::write_columns;
use crate::width::for_every_width;

/// Number of rows that prefetching runs ahead of copying.
const ROWS_AHEAD: usize = 8;

/// Copies `b` as `[panels, depth, COLUMNS]`. Columns beyond those of `b` become 0.
pub(super) fn write_panels(b: Matrix<'_>, panels: &mut [f32]) {
    match b.row_stride == 1 {
        true => transpose(b, panels),
        false => copy(b, panels),
    }
}

for_every_width! {
    /// Writes the panels of a `b` whose columns are contiguous.
    fn transpose(b: Matrix<'_>, panels: &mut [f32]) = transpose_body
}

#[inline(always)]
fn transpose_body<const FUSED: bool>(b: Matrix<'_>, panels: &mut [f32]) {
    for (number, panel) in panels.chunks_exact_mut((b.rows * COLUMNS).max(1)).enumerate() {
        let first = number * COLUMNS;
        let count = (b.columns - first).min(COLUMNS);
        write_columns(&b.data[first * b.column_stride..], b.column_stride, [count, b.rows], panel, COLUMNS);
    }
}

for_every_width! {
    /// Writes the panels of a `b` whose rows are contiguous, row by row. Writing panel by panel
    /// would fetch one cache line from each row and wait for most of them.
    fn copy(b: Matrix<'_>, panels: &mut [f32]) = copy_body
}

#[inline(always)]
fn copy_body<const FUSED: bool>(b: Matrix<'_>, panels: &mut [f32]) {
    for depth in 0..b.rows {
        let (whole, rest) = b.data[depth * b.row_stride..][..b.columns].as_chunks::<COLUMNS>();
        for (panel, numbers) in whole.iter().enumerate() {
            prefetch(numbers, ROWS_AHEAD * b.row_stride);
            panels[(panel * b.rows + depth) * COLUMNS..][..COLUMNS].copy_from_slice(numbers);
        }
        if !rest.is_empty() {
            let last = &mut panels[(whole.len() * b.rows + depth) * COLUMNS..][..COLUMNS];
            last[..rest.len()].copy_from_slice(rest);
            last[rest.len()..].fill(0.0);
        }
    }
}

for_every_width! {
    /// Copies rows as `[strips, depth, ROWS]`. Rows beyond those of `a` become 0.
    pub(super) fn write_strips(a: Matrix<'_>, strips: &mut [f32]) = write_strips_body
}

#[inline(always)]
fn write_strips_body<const FUSED: bool>(a: Matrix<'_>, strips: &mut [f32]) {
    for (number, strip) in strips.chunks_exact_mut((ROWS * a.columns).max(1)).enumerate() {
        let first = number * ROWS;
        let rows = (a.rows - first).min(ROWS);
        for (depth, to) in strip.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            let from = &a.data[first * a.row_stride + depth * a.column_stride..];
            // Prefetches the elements of the next strips, if those follow these in memory.
            prefetch(from, 2 * COLUMNS);
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

/// Prefetches into the nearest cache the memory `ahead` elements after the first of `numbers`. That
/// memory need not exist.
#[inline(always)]
fn prefetch(numbers: &[f32], ahead: usize) {
    // SAFETY: every x86-64 processor has this instruction, which reads nothing and is harmless at
    // any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(numbers.as_ptr().wrapping_add(ahead).cast()) }
}
