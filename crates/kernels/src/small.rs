//! Products of small matrices, inlined into the loops around them. At these sizes a call of a
//! matrix library doesn't pay off.

use super::math::multiply_add;

/// Number of floats in a vector.
pub(crate) const LANES: usize = 8;

/// A read-only view of a small matrix. Element `(row, column)` is
/// `data[row * row_stride + column * column_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Factor<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

/// Computes `out = a b` for `a` `[rows, inner]` and `b` `[inner, columns]`. Rows of `b` are
/// `b_stride` apart, rows of `out` `out_stride`.
#[inline(always)]
pub(crate) fn product<const FUSED: bool>(
    [rows, inner, columns]: [usize; 3],
    a: Factor<'_>,
    (b, b_stride): (&[f32], usize),
    (out, out_stride): (&mut [f32], usize),
) {
    let mut row = 0;
    while row + 4 <= rows {
        rows_of::<FUSED, 4>(row, [inner, columns], a, (b, b_stride), (out, out_stride));
        row += 4;
    }
    match rows - row {
        3 => rows_of::<FUSED, 3>(row, [inner, columns], a, (b, b_stride), (out, out_stride)),
        2 => rows_of::<FUSED, 2>(row, [inner, columns], a, (b, b_stride), (out, out_stride)),
        1 => rows_of::<FUSED, 1>(row, [inner, columns], a, (b, b_stride), (out, out_stride)),
        _ => {}
    }
}

/// Sums vectors lane by lane, and adds up the lanes at the end.
#[inline(always)]
pub(crate) fn sum(vectors: impl Iterator<Item = [f32; LANES]>) -> f32 {
    let mut sums = [0.0; LANES];
    for vector in vectors {
        for (sum, number) in sums.iter_mut().zip(vector) {
            *sum += number;
        }
    }
    sums.iter().sum()
}

/// Computes `ROWS` rows of [`product`].
#[inline(always)]
fn rows_of<const FUSED: bool, const ROWS: usize>(
    row: usize,
    [inner, columns]: [usize; 2],
    a: Factor<'_>,
    (b, b_stride): (&[f32], usize),
    (out, out_stride): (&mut [f32], usize),
) {
    let mut column = 0;
    while column + 2 * LANES <= columns {
        tile::<FUSED, ROWS, { 2 * LANES }>(row, column, inner, a, (b, b_stride), (out, out_stride));
        column += 2 * LANES;
    }
    while column + LANES <= columns {
        tile::<FUSED, ROWS, LANES>(row, column, inner, a, (b, b_stride), (out, out_stride));
        column += LANES;
    }
    while column < columns {
        tile::<FUSED, ROWS, 1>(row, column, inner, a, (b, b_stride), (out, out_stride));
        column += 1;
    }
}

/// Computes a tile of [`product`], whose sums stay in registers.
#[inline(always)]
fn tile<const FUSED: bool, const ROWS: usize, const COLUMNS: usize>(
    row: usize,
    column: usize,
    inner: usize,
    a: Factor<'_>,
    (b, b_stride): (&[f32], usize),
    (out, out_stride): (&mut [f32], usize),
) {
    let mut sums = [[0.0_f32; COLUMNS]; ROWS];
    for k in 0..inner {
        let b = &b[k * b_stride + column..][..COLUMNS];
        for (i, sums) in sums.iter_mut().enumerate() {
            let a = a.data[(row + i) * a.row_stride + k * a.column_stride];
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = multiply_add::<FUSED>(a, *b, *sum);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        out[(row + i) * out_stride + column..][..COLUMNS].copy_from_slice(sums);
    }
}
