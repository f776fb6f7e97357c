//! Rows written as columns.
//!
//! Attention's products read keys and values as columns, and so does every product with a weight:
//! the tiles of `product` read 16 rows of the weight side by side, and the AVX-512 kernel of the
//! crate `gemm` reads 64, which it would otherwise collect element by element.
//!
//! On processors with AVX2, squares are transposed in registers, by shuffles that halve the
//! remaining work at each step. Plain loops are three to five times slower as compiled, even with
//! wider registers (`docs/decisions/0044-products-of-our-own.md`).

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
    _mm256_unpacklo_ps,
};

#[cfg(target_arch = "x86_64")]
use super::width::Avx2;
use super::width::for_every_width;

/// Side of a tile: a cache line.
const TILE: usize = 16;
/// Side of the smaller tiles: an AVX2 vector.
const SMALL: usize = 8;

for_every_width! {
    /// Writes the first `rows` rows of `weight` `[.., inputs]` as columns of `transposed`,
    /// `[inputs, rows]`.
    pub(crate) fn transpose(weight: &[f32], inputs: usize, rows: usize, transposed: &mut Vec<f32>) = transpose_body
}

#[inline(always)]
fn transpose_body<const FUSED: bool>(weight: &[f32], inputs: usize, rows: usize, transposed: &mut Vec<f32>) {
    transposed.resize(inputs * rows, 0.0);
    write_columns(weight, inputs, [rows, inputs], transposed, rows);
}

/// Writes `count` rows of `size` elements, `stride` apart, as columns `[size, padded]`. The
/// elements beyond `count` in each column become 0.
#[inline(always)]
pub(crate) fn write_columns(
    rows: &[f32],
    stride: usize,
    [count, size]: [usize; 2],
    columns: &mut [f32],
    padded: usize,
) {
    if size == 0 {
        return;
    }
    let mut row = 0;
    while row + TILE <= count {
        strip::<TILE>(&rows[row * stride..], stride, [TILE, size], &mut columns[row..], padded);
        row += TILE;
    }
    while row < count && row + SMALL <= padded {
        let left = (count - row).min(SMALL);
        strip::<SMALL>(&rows[row * stride..], stride, [left, size], &mut columns[row..], padded);
        row += SMALL;
    }
    // The remaining rows, which fill no tile.
    for row in row..count {
        for (at, number) in rows[row * stride..][..size].iter().enumerate() {
            columns[at * padded + row] = *number;
        }
    }
    for column in columns.chunks_exact_mut(padded.max(1)).take(size) {
        column[row.max(count)..].fill(0.0);
    }
}

/// Transposes `count` rows into the first `SIDE` elements of the columns. The elements beyond
/// `count` become 0.
#[inline(always)]
fn strip<const SIDE: usize>(
    rows: &[f32],
    stride: usize,
    [count, size]: [usize; 2],
    columns: &mut [f32],
    padded: usize,
) {
    let in_tiles = size / SIDE * SIDE;
    for at in (0..in_tiles).step_by(SIDE) {
        let (rows, columns) = (&rows[at..], &mut columns[at * padded..]);
        match count == SIDE {
            true => tile::<SIDE>(rows, stride, columns, padded),
            false => part_of_a_tile::<SIDE>(rows, stride, count, columns, padded),
        }
    }
    for at in in_tiles..size {
        for (row, number) in columns[at * padded..][..SIDE].iter_mut().enumerate() {
            *number = if row < count { rows[row * stride + at] } else { 0.0 };
        }
    }
}

/// Transposes a square that has only its first `count` rows. The other rows count as 0.
#[inline(always)]
fn part_of_a_tile<const SIDE: usize>(
    rows: &[f32],
    stride: usize,
    count: usize,
    columns: &mut [f32],
    padded: usize,
) {
    let mut square = [[0.0; SIDE]; SIDE];
    for (i, numbers) in square.iter_mut().enumerate().take(count) {
        numbers.copy_from_slice(&rows[i * stride..][..SIDE]);
    }
    tile::<SIDE>(square.as_flattened(), SIDE, columns, padded);
}

/// Transposes a square of `SIDE` by `SIDE` elements.
#[inline(always)]
fn tile<const SIDE: usize>(rows: &[f32], stride: usize, columns: &mut [f32], padded: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = Avx2::here() {
        for row in (0..SIDE).step_by(SMALL) {
            for at in (0..SIDE).step_by(SMALL) {
                small_tile(
                    avx2,
                    &rows[row * stride + at..],
                    stride,
                    &mut columns[at * padded + row..],
                    padded,
                );
            }
        }
        return;
    }
    plain_tile::<SIDE>(rows, stride, columns, padded);
}

/// Transposes a square like [`tile`], element by element.
#[inline(always)]
fn plain_tile<const SIDE: usize>(rows: &[f32], stride: usize, columns: &mut [f32], padded: usize) {
    let mut transposed = [[0.0; SIDE]; SIDE];
    for i in 0..SIDE {
        let numbers = &rows[i * stride..][..SIDE];
        for j in 0..SIDE {
            transposed[j][i] = numbers[j];
        }
    }
    for (j, numbers) in transposed.iter().enumerate() {
        columns[j * padded..][..SIDE].copy_from_slice(numbers);
    }
}

/// Transposes a square of [`SMALL`] by [`SMALL`] elements in eight registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn small_tile(_: Avx2, rows: &[f32], stride: usize, columns: &mut [f32], padded: usize) {
    let whole = |numbers: &[f32], stride: usize| (SMALL - 1) * stride + SMALL <= numbers.len();
    assert!(whole(rows, stride) && whole(columns, padded), "both slices hold a whole square");
    // SAFETY: the processor has the instructions (`Avx2` is the proof), and the assertion has just
    // checked that both squares are within their slices.
    unsafe { in_registers(rows.as_ptr(), stride, columns.as_mut_ptr(), padded) }
}

/// Transposes the square with shuffles, which interleave pairs of rows, then four rows, then all
/// eight.
///
/// Never inlined: inside attention's loops this code slows the rest of them down, by 4 to 8 % with
/// long texts.
///
/// # Safety
/// Both pointers must lead to a full square: [`SMALL`] rows of [`SMALL`] elements, `stride` apart
/// for `rows`, which are read, and `padded` apart for `columns`, which are written.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn in_registers(rows: *const f32, stride: usize, columns: *mut f32, padded: usize) {
    // SAFETY: this is one of the square's rows, which the caller guarantees.
    let rows: [_; SMALL] = std::array::from_fn(|row| unsafe { _mm256_loadu_ps(rows.add(row * stride)) });
    // Interleaves the elements of two rows: the lower and the upper half of each 128 bits.
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
                // SAFETY: this is one of the square's columns, which the caller guarantees.
                unsafe { _mm256_storeu_ps(columns.add((column + half * SMALL / 2) * padded), numbers) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_become_columns(rows in 0_usize..70, inputs in 0_usize..50) {
            let weight: Vec<f32> = (0..rows * inputs + 7).map(|number| number as f32).collect();
            let mut transposed = vec![f32::NAN; 3];
            transpose(&weight, inputs, rows, &mut transposed);
            let exact: Vec<f32> =
                (0..inputs).flat_map(|input| (0..rows).map(move |row| (row * inputs + input) as f32)).collect();
            prop_assert_eq!(transposed, exact);
        }

        #[test]
        fn registers_and_plain_loops_transpose_the_same_way(apart in 0_usize..9, padded in TILE..20) {
            let stride = TILE + apart;
            let rows: Vec<f32> = (0..TILE * stride).map(|number| number as f32).collect();
            let (mut found, mut plain) = (vec![-1.0; TILE * padded], vec![-1.0; TILE * padded]);
            tile::<TILE>(&rows, stride, &mut found, padded);
            plain_tile::<TILE>(&rows, stride, &mut plain, padded);
            prop_assert_eq!(found, plain);
        }

        #[test]
        fn what_is_beside_rows_is_left_out_and_what_is_below_columns_is_zero(
            count in 0_usize..40, size in 0_usize..40, apart in 0_usize..9, below in 0_usize..9
        ) {
            let (stride, padded) = (size + apart, count + below);
            let rows: Vec<f32> = (0..count * stride).map(|number| number as f32).collect();
            let mut columns = vec![-1.0; size * padded];
            write_columns(&rows, stride, [count, size], &mut columns, padded);
            for (place, number) in columns.iter().enumerate() {
                let (at, row) = (place / padded, place % padded);
                let exact = if row < count { rows[row * stride + at] } else { 0.0 };
                prop_assert_eq!(*number, exact);
            }
        }
    }
}
