//! Weights turned around by ourselves where the crate `gemm` would be slow at it.
//!
//! Its AVX-512 kernel wants 64 outputs of a weight side by side, and collects them number by number from 64 rows. Rows that are a
//! multiple of 1 KiB long begin in so few sets of the nearest cache that the rows push each other out of it, and every number
//! is fetched from the next cache: 384 outputs of 1,536 inputs by 144 rows took half as long again as the other way
//! round. So a panel is turned here in tiles that stay in registers, and `gemm` finds it in order.

use super::width::for_every_width;

/// Outputs that are turned at a time: as many as the kernel takes.
pub(crate) const PANEL: usize = 64;
/// A tile's side: a line of the cache.
const TILE: usize = 16;
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
    let (whole_rows, whole_inputs) = (rows / TILE * TILE, inputs / TILE * TILE);
    for row in (0..whole_rows).step_by(TILE) {
        for input in (0..whole_inputs).step_by(TILE) {
            let mut tile = [[0.0; TILE]; TILE];
            for i in 0..TILE {
                let numbers = &weight[(row + i) * inputs + input..][..TILE];
                for j in 0..TILE {
                    tile[j][i] = numbers[j];
                }
            }
            for (j, numbers) in tile.iter().enumerate() {
                turned[(input + j) * rows + row..][..TILE].copy_from_slice(numbers);
            }
        }
    }
    // What is left beside and below the tiles.
    for row in 0..rows {
        let first = if row < whole_rows { whole_inputs } else { 0 };
        for input in first..inputs {
            turned[input * rows + row] = weight[row * inputs + input];
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
            let mut turned = vec![f32::NAN; 3];
            turn(&weight, inputs, rows, &mut turned);
            let exact: Vec<f32> =
                (0..inputs).flat_map(|input| (0..rows).map(move |row| (row * inputs + input) as f32)).collect();
            prop_assert_eq!(turned, exact);
        }
    }
}
