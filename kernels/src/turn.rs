//! Rows written as columns.
//!
//! Attention's products want keys and values so, and a linear layer's weight is turned here where the crate `gemm` would be slow
//! at it: its AVX-512 kernel wants 64 outputs of a weight side by side, and collects them number by number from 64 rows. Rows
//! that are a multiple of 1 KiB long begin in so few sets of the nearest cache that they push each other out of it, and
//! every number is fetched from the next cache: 384 outputs of 1,536 inputs by 144 rows took half as long again as the
//! other way round. So a panel is turned in tiles that stay in registers, and `gemm` finds it in order.

use super::width::for_every_width;

/// Outputs that are turned at a time: as many as the kernel takes.
pub(crate) const PANEL: usize = 64;
/// A tile's side: a line of the cache.
const TILE: usize = 16;
/// The side of the smaller tiles at the edges: a vector of AVX2.
const SMALL: usize = 8;
/// Rows of a multiple of so many numbers begin in at most four of the 64 sets of the nearest cache.
const CLASHING: usize = 256;

/// Whether weights of so many inputs are better turned here. The kernel for AVX2 takes 24 rows at a time, which find room.
pub(crate) fn pays(inputs: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    return inputs > 0 && inputs.is_multiple_of(CLASHING) && super::width::has_512();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

for_every_width! {
    /// Writes the first `rows` rows of `weight` `[.., inputs]` as columns: `turned` becomes `[inputs, rows]`.
    pub(crate) fn turn(weight: &[f32], inputs: usize, rows: usize, turned: &mut Vec<f32>) = turn_body
}

#[inline(always)]
fn turn_body<const FUSED: bool>(weight: &[f32], inputs: usize, rows: usize, turned: &mut Vec<f32>) {
    turned.resize(inputs * rows, 0.0);
    write_columns(weight, inputs, [rows, inputs], turned, rows);
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

/// Turns a square of numbers in registers.
#[inline(always)]
fn tile<const SIDE: usize>(rows: &[f32], stride: usize, columns: &mut [f32], padded: usize) {
    let mut turned = [[0.0; SIDE]; SIDE];
    for i in 0..SIDE {
        let numbers = &rows[i * stride..][..SIDE];
        for j in 0..SIDE {
            turned[j][i] = numbers[j];
        }
    }
    for (j, numbers) in turned.iter().enumerate() {
        columns[j * padded..][..SIDE].copy_from_slice(numbers);
    }
}

/// The same for a square of which only the first `count` rows are there; the others are 0.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_become_columns(rows in 0_usize..70, inputs in 0_usize..50) {
            let weight: Vec<f32> = (0..rows * inputs + 7).map(|number| number as f32).collect();
            let mut turned = vec![f32::NAN; 3];
            turn(&weight, inputs, rows, &mut turned);
            let exact: Vec<f32> =
                (0..inputs).flat_map(|input| (0..rows).map(move |row| (row * inputs + input) as f32)).collect();
            prop_assert_eq!(turned, exact);
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
