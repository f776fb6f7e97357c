//! Product of a block with AVX2, tile by tile, without a copy of `a` if its rows are contiguous.
//!
//! `b` is copied into panels as wide as a tile, some at a time. Both factors are cut so that data
//! which is read repeatedly stays in cache: one panel in the nearest cache, several panels and the
//! rows of `a` that they meet in the next. The crate `gemm` instead keeps four rows in the nearest
//! cache and reads the larger factor from the next cache for each of them. With few rows `gemm`
//! copies about as much as it multiplies (`docs/decisions/0044-products-of-our-own.md`).

use std::cell::RefCell;
use std::ops::Range;

use super::matrix::Matrix;
use super::panels::{write_panels, write_strips};
use super::start::Start;
use super::target::{Block, Target};
use super::tile::{self, COLUMNS, Onto, ROWS, Strip};
use crate::columns;
use crate::width::Avx2;

/// Depth of a panel, which then takes 24 of the nearest cache's 32 KiB.
const DEPTH: usize = 384;
/// Number of rows of `a` processed at a time. At the depth above they take 288 KiB of the next
/// cache.
const ROWS_AT_A_TIME: usize = 32 * ROWS;

/// Number of panels that stay in cache while all rows of `a` meet them. They take 96 KiB of the
/// next cache.
const PANELS: usize = 4;

/// Buffers that a thread copies factors into.
#[derive(Default)]
struct Buffers {
    strips: Vec<f32>,
    panels: Vec<f32>,
}

thread_local! {
    static ROOM: RefCell<Buffers> = RefCell::default();
}

/// Writes `start + a b` into a block.
pub(super) fn product(
    avx2: Avx2,
    target: &Target<'_>,
    block: &Block,
    a: Matrix<'_>,
    b: Matrix<'_>,
    start: Start<'_>,
) {
    assert!(
        a.rows == block.rows.len() && b.columns == block.columns.len() && a.columns == b.rows,
        "shapes fit"
    );
    if a.columns == 0 {
        return target
            .each_row(block, |row, numbers| start.write(row, &block.columns, target.columns, numbers));
    }
    ROOM.with_borrow_mut(|Buffers { strips, panels }| {
        for depth in cut(a.columns, DEPTH, 1) {
            let (a, b) = (a.columns(&depth), b.rows(&depth));
            let start = (depth.start == 0).then_some(start);
            // Copied rows are copied once for all panels, which then don't stay in cache.
            let wide = if a.column_stride == 1 { PANELS * COLUMNS } else { b.columns.max(1) };
            for columns in cut(b.columns, wide, COLUMNS) {
                panels.resize(columns.len().next_multiple_of(COLUMNS) * depth.len(), 0.0);
                write_panels(b.columns(&columns), panels);
                for rows in cut(a.rows, ROWS_AT_A_TIME, ROWS) {
                    let strips = Strips::of(a.rows(&rows), strips);
                    let firsts = columns.clone().step_by(COLUMNS);
                    for (first, panel) in firsts.zip(panels.chunks_exact(COLUMNS * depth.len())) {
                        let columns = first..(first + COLUMNS).min(columns.end);
                        strips.multiply(avx2, panel, target, &block.part(&rows, &columns), start);
                    }
                }
            }
        }
    });
}

/// Cuts `0..whole` into parts of nearly the same size, at most `most` each. The size of every part
/// but the last is a multiple of `of`.
fn cut(whole: usize, most: usize, of: usize) -> impl Iterator<Item = Range<usize>> {
    let step = whole.div_ceil(whole.div_ceil(most).max(1)).next_multiple_of(of).max(1);
    (0..whole).step_by(step).map(move |first| first..(first + step).min(whole))
}

/// Rows of `a`, [`ROWS`] at a time.
struct Strips<'a> {
    a: Matrix<'a>,
    /// Number of rows that are read in place.
    as_they_lie: usize,
    /// The other rows, copied as `[strips, depth, ROWS]`. Rows beyond those of `a` are 0.
    copied: &'a [f32],
}

impl<'a> Strips<'a> {
    /// Copies the rows that can't be read in place into `room`: rows that aren't contiguous, and
    /// those that fill no whole strip.
    fn of(a: Matrix<'a>, room: &'a mut Vec<f32>) -> Self {
        let as_they_lie = if a.column_stride == 1 { a.rows / ROWS * ROWS } else { 0 };
        let rest = as_they_lie..a.rows;
        room.resize(rest.len().next_multiple_of(ROWS) * a.columns, 0.0);
        write_strips(a.rows(&rest), room);
        Self { a, as_they_lie, copied: room }
    }

    fn strip(&self, first: usize) -> Strip<'_> {
        match first.checked_sub(self.as_they_lie) {
            Some(beyond) => {
                Strip { numbers: &self.copied[beyond * self.a.columns..], row_stride: 1, depth_stride: ROWS }
            }
            None => Strip {
                numbers: &self.a.data[first * self.a.row_stride..],
                row_stride: self.a.row_stride,
                depth_stride: self.a.column_stride,
            },
        }
    }

    /// Writes the sum of `start` and the product of all rows with a panel into a block of no more
    /// columns than a tile has. Without a start, adds the product to the block's values.
    fn multiply(
        &self,
        avx2: Avx2,
        panel: &[f32],
        target: &Target<'_>,
        block: &Block,
        start: Option<Start<'_>>,
    ) {
        for first in (0..block.rows.len()).step_by(ROWS) {
            let rows = first..(first + ROWS).min(block.rows.len());
            let part = block.part(&rows, &(0..block.columns.len()));
            if rows.len() == ROWS && block.columns.len() == COLUMNS {
                let (tile, stride) = (target.corner(&part), target.columns);
                let onto = match start {
                    None => Onto::Itself,
                    Some(Start { row, matrix }) => Onto::These([
                        row.map(|row| (&row[part.columns.start..], 0)),
                        matrix
                            .map(|matrix| (&matrix[part.rows.start * stride + part.columns.start..], stride)),
                    ]),
                };
                // SAFETY: the tile is exactly `part`, which `corner` has checked to be inside the
                // result. `part` is cut from `block`, so it belongs to this task.
                unsafe { tile::multiply(avx2, self.strip(first), panel, tile, stride, onto) };
                continue;
            }
            let mut beside = [[0.0; COLUMNS]; ROWS];
            let tile = beside.as_flattened_mut().as_mut_ptr();
            // SAFETY: the tile is the whole of an array of its size.
            unsafe { tile::multiply(avx2, self.strip(first), panel, tile, COLUMNS, Onto::NOTHING) };
            target.each_row(&part, |row, numbers| {
                if let Some(start) = start {
                    start.write(row, &part.columns, target.columns, numbers);
                }
                columns::add(numbers, &beside[row - part.rows.start]);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plain::Case;
    use super::*;

    proptest! {
        #[test]
        fn tiles_add_up_to_three_plain_loops(case in Case::any()) {
            if let Some(avx2) = Avx2::here() {
                case.check(|target, block, a, b, start| product(avx2, target, block, a, b, start))?;
            }
        }

        #[test]
        fn parts_cover_the_whole(whole in 0_usize..2_000, most in 1_usize..500, of in 1_usize..9) {
            let parts: Vec<_> = cut(whole, most * of, of).collect();
            prop_assert!(parts.iter().all(|part| part.len() <= most * of && part.start % of == 0));
            prop_assert_eq!(parts.into_iter().flatten().collect::<Vec<_>>(), (0..whole).collect::<Vec<_>>());
        }
    }
}
