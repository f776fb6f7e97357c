//! Rows that several tokens share, and the sum of their tokens' gradients.

use super::columns;
use super::thread_pool::{ThreadPool, each_with};

/// Number of shared rows that one task sums.
const ROWS: usize = 8;

/// Assignment of tokens to shared rows, which are numbered from 0.
#[derive(Debug)]
pub struct Sharing {
    /// Tokens ordered by the row they use; tokens of one row are in their original order.
    tokens: Vec<usize>,
    /// Index of each row's first token in `tokens`, followed by the number of tokens.
    starts: Vec<usize>,
}

impl Sharing {
    /// Creates the assignment from each token's row. Returns `None` when a row is negative, or when
    /// there are more rows than tokens.
    pub fn new(rows: &[i64]) -> Option<Self> {
        let used: Option<Vec<usize>> = rows.iter().map(|row| usize::try_from(*row).ok()).collect();
        let used = used?;
        let count = used.iter().map(|row| row + 1).max().unwrap_or(0);
        if count > used.len() {
            return None;
        }
        let mut starts = vec![0; count + 1];
        used.iter().for_each(|row| starts[row + 1] += 1);
        for row in 0..count {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        let mut tokens = vec![0; used.len()];
        for (token, row) in used.iter().enumerate() {
            tokens[next[*row]] = token;
            next[*row] += 1;
        }
        Some(Self { tokens, starts })
    }

    /// Number of shared rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Sets each row `sums[r]` to the sum of `upstream[t]` over the tokens `t` that use row `r`, in
    /// their original order. Rows of both slices are `width` wide.
    ///
    /// # Panics
    /// When `upstream` doesn't have one row for each token, or `sums` one for each shared row.
    pub fn sum(&self, pool: &dyn ThreadPool, upstream: &[f32], width: usize, sums: &mut [f32]) {
        assert_eq!(upstream.len(), self.tokens.len() * width, "a row for each token");
        assert_eq!(sums.len(), self.rows() * width, "a sum for each row");
        let width = width.max(1);
        each_with(pool, sums.chunks_mut(ROWS * width).collect(), |block, sums| {
            for (row, sum) in sums.chunks_exact_mut(width).enumerate() {
                let row = block * ROWS + row;
                sum.fill(0.0);
                for token in &self.tokens[self.starts[row]..self.starts[row + 1]] {
                    columns::add(sum, &upstream[token * width..][..width]);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::thread_pool::SingleThread;

    proptest! {
        #[test]
        fn each_token_counts_once_for_its_row(rows in prop::collection::vec(0_i64..30, 30..90), width in 1_usize..9) {
            let sharing = Sharing::new(&rows).unwrap();
            let upstream: Vec<f32> = (0..rows.len() * width).map(|number| (number % 97) as f32).collect();
            let mut exact = vec![0.0; sharing.rows() * width];
            for (row, upstream) in rows.iter().zip(upstream.chunks(width)) {
                columns::add(&mut exact[*row as usize * width..][..width], upstream);
            }
            let mut sums = vec![f32::NAN; exact.len()];
            sharing.sum(&SingleThread, &upstream, width, &mut sums);
            prop_assert_eq!(sums, exact);
        }
    }

    #[test]
    fn rows_that_cannot_be_are_refused() {
        assert!(Sharing::new(&[0, -1]).is_none());
        assert!(Sharing::new(&[0, 2]).is_none(), "three rows of two tokens");
        assert_eq!(Sharing::new(&[]).unwrap().rows(), 0);
    }
}
