//! Product of a block by the crate `gemm-f32`, the part of `gemm` for 32-bit floats. Used on
//! processors with AVX-512, and on those without AVX2.

use super::matrix::Matrix;
use super::start::Start;
use super::target::{Block, Target};
use crate::transpose::transpose;

/// Number of columns transposed at a time, as many as the crate's AVX-512 kernel takes.
const PANEL: usize = 64;

/// Returns true when transposing here pays off: with AVX-512 the crate would otherwise collect
/// columns element by element.
fn transposing_pays() -> bool {
    #[cfg(target_arch = "x86_64")]
    return crate::width::has_512();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Writes `start + a b` into a block.
pub(super) fn product(target: &Target<'_>, block: &Block, a: Matrix<'_>, b: Matrix<'_>, start: Start<'_>) {
    if !start.is_nothing() {
        target.each_row(block, |row, numbers| start.write(row, &block.columns, target.columns, numbers));
    }
    match b.has_contiguous_columns() && transposing_pays() {
        true => in_panels(target, block, a, b, !start.is_nothing()),
        false => as_is(target, block, a, b, !start.is_nothing()),
    }
}

/// Writes the product `a b` into a block, or adds the product to the block's values. The columns of
/// `b` are contiguous, and are transposed to rows [`PANEL`] at a time.
fn in_panels(target: &Target<'_>, block: &Block, a: Matrix<'_>, b: Matrix<'_>, add: bool) {
    assert!(b.columns == block.columns.len() && b.has_contiguous_columns(), "columns of a transposed matrix");
    let mut panel = Vec::new();
    for first in (0..b.columns).step_by(PANEL) {
        let range = first..(first + PANEL).min(b.columns);
        transpose(b.columns(&range).data, b.rows, range.len(), &mut panel);
        let columns = block.columns.start + range.start..block.columns.start + range.end;
        let part = Block { rows: block.rows.clone(), columns };
        as_is(target, &part, a, Matrix::new(&panel, range.len()), add);
    }
}

/// Writes or adds the product like [`in_panels`], for factors in any order.
fn as_is(target: &Target<'_>, block: &Block, a: Matrix<'_>, b: Matrix<'_>, add: bool) {
    if block.rows.is_empty() || block.columns.is_empty() {
        return;
    }
    assert!(
        a.rows == block.rows.len() && b.columns == block.columns.len() && a.columns == b.rows,
        "shapes fit"
    );
    assert!(a.holds() && b.holds(), "the factors are within their data");
    let multiply = gemm_f32::gemm::f32::get_gemm_fn();
    // SAFETY: `multiply` reads the factors within their slices, as `holds` has just checked. It
    // reads and writes the block's elements, which are within the borrowed slice (`corner` checks
    // that) and belong to this task alone. No element of the result is part of a factor: the
    // factors are shared borrows, the result is a mutable one.
    // The crate expects the result column by column, so it gets everything transposed: the columns
    // of the result are the rows of `(a b)^T = b^T a^T`.
    unsafe {
        multiply(
            b.columns,
            a.rows,
            a.columns,
            target.corner(block),
            target.columns as isize,
            1,
            add,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.column_stride as isize,
            a.data.as_ptr(),
            a.row_stride as isize,
            a.column_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plain::Case;
    use super::*;

    proptest! {
        #[test]
        fn as_it_is_and_in_panels_it_is_three_plain_loops(case in Case::any()) {
            case.check(product)?;
            if case.b_transposed {
                // Tests this path on every processor, even where `product` wouldn't take it.
                case.check(|target, block, a, b, start| {
                    target.each_row(block, |row, numbers| start.write(row, &block.columns, target.columns, numbers));
                    in_panels(target, block, a, b, true);
                })?;
            }
        }
    }
}
