//! Rows written as columns.
//!
//! Attention's products want keys and values so, and every product by a weight: `tile`s read 16 of its rows side by side, and the
//! crate `gemm`'s kernel for AVX-512 64 of them, which it would collect number by number. On processors with AVX2 squares are
//! transposed in registers, by shuffles that halve what is still to be transposed; what compilers make of the plain loops, even with
//! wider registers, is three to five times slower (`docs/performance.md`).

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
    _mm256_unpacklo_ps,
};

#[cfg(target_arch = "x86_64")]
use super::width::Avx2;
use super::width::for_every_width;

/// A tile's side: a line of the cache.
const TILE: usize = 16;
/// The side of the smaller tiles: a vector of AVX2.
const SMALL: usize = 8;

for_every_width! {
    /// Writes the first `rows` rows of `weight` `[.., inputs]` as columns: `transposed` becomes `[inputs, rows]`.
    pub(crate) fn transpose(weight: &[f32], inputs: usize, rows: usize, transposed: &mut Vec<f32>) = turn_body
}

#[inline(always)]
fn turn_body<const FUSED: bool>(weight: &[f32], inputs: usize, rows: usize, transposed: &mut Vec<f32>) {
    transposed.resize(inputs * rows, 0.0);
    write_columns(weight, inputs, [rows, inputs], transposed, rows);
}

/// Writes `count` rows of `size` numbers that lie `stride` apart as columns, `[size, padded]`; what is beyond `count` becomes 0.
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
    // Where no tile finds room.
    for row in row..count {
        for (at, number) in rows[row * stride..][..size].iter().enumerate() {
            columns[at * padded + row] = *number;
        }
    }
    for column in columns.chunks_exact_mut(padded.max(1)).take(size) {
        column[row.max(count)..].fill(0.0);
    }
}

/// Turns `count` rows into the first `SIDE` places of the columns; the places beyond `count` become 0.
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

/// Turns a square of which only the first `count` rows are there; the others are 0.
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

/// Turns a square of numbers.
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

/// The same, number by number.
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

/// The same for a square of [`SMALL`], in eight registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn small_tile(_: Avx2, rows: &[f32], stride: usize, columns: &mut [f32], padded: usize) {
    let whole = |numbers: &[f32], stride: usize| (SMALL - 1) * stride + SMALL <= numbers.len();
    assert!(whole(rows, stride) && whole(columns, padded), "a square on both sides");
    // SAFETY: the processor has the instructions (`Avx2` is the proof), and both squares are there, as was just found.
    unsafe { in_registers(rows.as_ptr(), stride, columns.as_mut_ptr(), padded) }
}

/// The same by shuffles: pairs of rows, then fours, then all eight are interleaved. Never inlined: written into attention's
/// loops it slows the rest of them down, by 4 to 8 % with long texts.
///
/// # Safety
/// There are squares on both sides.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn in_registers(rows: *const f32, stride: usize, columns: *mut f32, padded: usize) {
    // SAFETY: one of the square's rows, for which the caller answers.
    let rows: [_; SMALL] = std::array::from_fn(|row| unsafe { _mm256_loadu_ps(rows.add(row * stride)) });
    // Number by number: those of the lower and the upper half of each 128 bits.
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
        fn registers_and_plain_loops_turn_the_same_way(apart in 0_usize..9, padded in TILE..20) {
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
