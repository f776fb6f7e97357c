//! Multi-head self-attention within each text of packed rows, and its gradient, without padding.
//!
//! For one head of one text of `S` tokens, with queries, keys and values `[S, D]`:
//! `P = softmax(Q K^T / sqrt(D))`, `context = P V`. Backward, with `dP = dcontext V^T`:
//! `dS = P * (dP - sum(dP * P)) / sqrt(D)`, `dQ = dS K`, `dK = dS^T Q`, `dV = P^T dcontext`.
//!
//! Texts are short and heads are narrow, so the products are loops over rows instead of calls of a
//! matrix library.

use super::columns;
use super::math::exp;
use super::small::{Factor, product, sum};
use super::thread_pool::{ThreadPool, each_with};
use super::transpose::write_columns;
use super::width::for_every_width;

/// Multiple that rows of scores are padded to, so that they consist of whole vectors.
const LANES: usize = super::small::LANES;

/// Boundaries of the texts within the packed rows.
#[derive(Debug, Clone)]
pub struct Texts<'a> {
    /// First row of each text, followed by the number of rows: `[texts + 1]`, never decreasing.
    starts: &'a [i64],
}

impl<'a> Texts<'a> {
    /// Creates the boundaries from the first row of each text and the number of rows. Returns
    /// `None` unless they start at 0 and never decrease.
    pub fn new(starts: &'a [i64]) -> Option<Self> {
        let rising = starts.windows(2).all(|pair| pair[0] <= pair[1]);
        (starts.first() == Some(&0) && rising).then_some(Self { starts })
    }

    /// Number of packed rows.
    pub fn rows(&self) -> usize {
        self.starts.last().map_or(0, |end| *end as usize)
    }

    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.starts.windows(2).map(|pair| (pair[1] - pair[0]) as usize)
    }
}

/// The shape of an attention layer.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub size: usize,
}

/// Number of rows that a task holds at most, unless a single text is longer.
const ROWS: usize = 96;

/// The texts of one task: the number of rows of each text, the first row of the first text, and the
/// number of rows of all.
struct Group {
    lengths: Vec<usize>,
    first: usize,
    rows: usize,
}

impl Attention {
    fn hidden(self) -> usize {
        self.heads * self.size
    }

    fn scale(self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    /// Number of probabilities that the forward pass stores for the backward pass.
    pub fn probabilities(self, texts: &Texts<'_>) -> usize {
        texts.lengths().map(|length| self.of_text(length)).sum()
    }

    fn of_text(self, length: usize) -> usize {
        self.heads * length * length.next_multiple_of(LANES)
    }

    fn groups(texts: &Texts<'_>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut first = 0;
        for length in texts.lengths() {
            match groups.last_mut() {
                Some(group) if group.rows + length <= ROWS => {
                    group.lengths.push(length);
                    group.rows += length;
                }
                _ => groups.push(Group { lengths: vec![length], first, rows: length }),
            }
            first += length;
        }
        groups
    }

    /// Computes `context` `[rows, hidden]` from `stacked` `[rows, 3 hidden]`, whose rows hold
    /// query, key and value side by side, and within each the heads one after the other.
    /// `probabilities` receives the attention probabilities for the backward pass,
    /// [`probabilities`](Self::probabilities) elements.
    ///
    /// # Panics
    /// When the lengths of the slices don't match these shapes.
    pub fn forward(
        self,
        pool: &dyn ThreadPool,
        stacked: &[f32],
        texts: &Texts<'_>,
        context: &mut [f32],
        probabilities: &mut [f32],
    ) {
        let hidden = self.hidden();
        assert!(stacked.len() == texts.rows() * 3 * hidden && context.len() == texts.rows() * hidden, "rows");
        assert_eq!(probabilities.len(), self.probabilities(texts), "probabilities");
        let (mut context, mut probabilities) = (context, probabilities);
        let mut parts = Vec::new();
        for group in Self::groups(texts) {
            let numbers = group.lengths.iter().map(|length| self.of_text(*length)).sum();
            let of_group;
            let probabilities_of_group;
            (of_group, context) = context.split_at_mut(group.rows * hidden);
            (probabilities_of_group, probabilities) = probabilities.split_at_mut(numbers);
            parts.push((group, of_group, probabilities_of_group));
        }
        each_with(pool, parts, |_, (group, context, probabilities)| {
            let rows = &stacked[group.first * 3 * hidden..][..group.rows * 3 * hidden];
            attend(self, &group.lengths, rows, context, probabilities);
        });
    }

    /// Computes the gradient `dstacked` `[rows, 3 hidden]` from the gradient `upstream`
    /// `[rows, hidden]` of the context, and in `dstacked_columns` `[3 hidden]` the sum of
    /// `dstacked` over all rows. `probabilities` holds the probabilities that the forward pass
    /// stored.
    ///
    /// # Panics
    /// When the lengths of the slices don't match these shapes.
    #[allow(clippy::too_many_arguments, reason = "what goes in, what comes out")]
    pub fn backward(
        self,
        pool: &dyn ThreadPool,
        upstream: &[f32],
        stacked: &[f32],
        texts: &Texts<'_>,
        probabilities: &[f32],
        dstacked: &mut [f32],
        dstacked_columns: &mut [f32],
    ) {
        let hidden = self.hidden();
        assert!(stacked.len() == texts.rows() * 3 * hidden && dstacked.len() == stacked.len(), "rows");
        assert!(upstream.len() == texts.rows() * hidden && dstacked_columns.len() == 3 * hidden, "rows");
        assert_eq!(probabilities.len(), self.probabilities(texts), "probabilities");
        let groups = Self::groups(texts);
        let mut sums = vec![0.0; groups.len() * 3 * hidden];
        let (mut dstacked, mut probabilities) = (dstacked, probabilities);
        let mut parts = Vec::new();
        for (group, sums) in groups.into_iter().zip(sums.chunks_mut((3 * hidden).max(1))) {
            let numbers = group.lengths.iter().map(|length| self.of_text(*length)).sum();
            let of_group;
            let probabilities_of_group;
            (of_group, dstacked) = dstacked.split_at_mut(group.rows * 3 * hidden);
            (probabilities_of_group, probabilities) = probabilities.split_at(numbers);
            parts.push((group, of_group, probabilities_of_group, sums));
        }
        each_with(pool, parts, |_, (group, dstacked, probabilities, sums)| {
            let rows = &stacked[group.first * 3 * hidden..][..group.rows * 3 * hidden];
            let upstream = &upstream[group.first * hidden..][..group.rows * hidden];
            backward_part(self, &group.lengths, upstream, rows, probabilities, dstacked, sums);
        });
        columns::total(&sums, dstacked_columns);
    }
}

for_every_width! {
    fn attend(of: Attention, lengths: &[usize], stacked: &[f32], context: &mut [f32], probabilities: &mut [f32]) = attend_body
}

for_every_width! {
    fn backward_part(
        of: Attention, lengths: &[usize], upstream: &[f32], stacked: &[f32], probabilities: &[f32],
        dstacked: &mut [f32], sums: &mut [f32],
    ) = backward_part_body
}

#[inline(always)]
fn attend_body<const FUSED: bool>(
    of: Attention,
    lengths: &[usize],
    stacked: &[f32],
    context: &mut [f32],
    probabilities: &mut [f32],
) {
    let (size, hidden, scale) = (of.size, of.hidden(), of.scale());
    let (mut stacked, mut context, mut probabilities) = (stacked, context, probabilities);
    let mut keys = Vec::new();
    for length in lengths.iter().copied().filter(|length| *length > 0) {
        let padded = length.next_multiple_of(LANES);
        let (rows, rest) = stacked.split_at(length * 3 * hidden);
        stacked = rest;
        let (of_text, rest) = context.split_at_mut(length * hidden);
        context = rest;
        let (text_probabilities, rest) = probabilities.split_at_mut(of.of_text(length));
        probabilities = rest;
        keys.resize(size * padded, 0.0);
        for (head, probabilities) in text_probabilities.chunks_exact_mut(length * padded).enumerate() {
            let [query, key, value] = [0, hidden, 2 * hidden].map(|side| &rows[side + head * size..]);
            write_columns(key, 3 * hidden, [length, size], &mut keys, padded);
            let queries = Factor { data: query, row_stride: 3 * hidden, column_stride: 1 };
            product::<FUSED>([length, size, padded], queries, (&keys, padded), (probabilities, padded));
            for row in probabilities.chunks_exact_mut(padded) {
                softmax::<FUSED>(row, length, scale);
            }
            let weights = Factor { data: probabilities, row_stride: padded, column_stride: 1 };
            let context = (&mut of_text[head * size..], hidden);
            product::<FUSED>([length, length, size], weights, (value, 3 * hidden), context);
        }
    }
}

/// Replaces the first `length` scores of a row by their softmax after scaling, and the others by 0.
#[inline(always)]
fn softmax<const FUSED: bool>(row: &mut [f32], length: usize, scale: f32) {
    let largest = row[..length].iter().fold(f32::NEG_INFINITY, |largest, score| largest.max(*score));
    for chunk in row.as_chunks_mut::<LANES>().0 {
        for score in chunk.iter_mut() {
            *score = exp::<FUSED>((*score - largest) * scale);
        }
    }
    row[length..].fill(0.0);
    let share = 1.0 / sum(row.as_chunks::<LANES>().0.iter().copied());
    row.iter_mut().for_each(|probability| *probability *= share);
}

#[inline(always)]
fn backward_part_body<const FUSED: bool>(
    of: Attention,
    lengths: &[usize],
    upstream: &[f32],
    stacked: &[f32],
    probabilities: &[f32],
    dstacked: &mut [f32],
    sums: &mut [f32],
) {
    let (size, hidden, scale) = (of.size, of.hidden(), of.scale());
    let (mut upstream, mut stacked, mut probabilities, mut dstacked) =
        (upstream, stacked, probabilities, dstacked);
    let (mut values, mut scores) = (Vec::new(), Vec::new());
    for length in lengths.iter().copied().filter(|length| *length > 0) {
        let padded = length.next_multiple_of(LANES);
        let (rows, rest) = stacked.split_at(length * 3 * hidden);
        stacked = rest;
        let (contexts, rest) = upstream.split_at(length * hidden);
        upstream = rest;
        let (text_probabilities, rest) = probabilities.split_at(of.of_text(length));
        probabilities = rest;
        let (drows, rest) = dstacked.split_at_mut(length * 3 * hidden);
        dstacked = rest;
        values.resize(size * padded, 0.0);
        scores.resize(length * padded, 0.0);
        for (head, probabilities) in text_probabilities.chunks_exact(length * padded).enumerate() {
            let [query, key, value] = [0, hidden, 2 * hidden].map(|side| side + head * size);
            write_columns(&rows[value..], 3 * hidden, [length, size], &mut values, padded);
            let context = &contexts[head * size..];
            let of_context = Factor { data: context, row_stride: hidden, column_stride: 1 };
            product::<FUSED>([length, size, padded], of_context, (&values, padded), (&mut scores, padded));
            for (scores, row) in scores.chunks_exact_mut(padded).zip(probabilities.chunks_exact(padded)) {
                let products = scores.as_chunks::<LANES>().0.iter().zip(row.as_chunks::<LANES>().0);
                let shared = sum(products.map(|(score, row)| std::array::from_fn(|at| score[at] * row[at])));
                for (score, probability) in scores.iter_mut().zip(row) {
                    *score = probability * (*score - shared) * scale;
                }
            }
            let (straight, transposed) = ((padded, 1), (1, padded));
            // No closures around products: the compiler would compile a closure that it doesn't
            // inline for the baseline processor.
            let parts = [
                (query, &scores[..], straight, &rows[key..], 3 * hidden),
                (key, &scores[..], transposed, &rows[query..], 3 * hidden),
                (value, probabilities, transposed, context, hidden),
            ];
            for (side, data, (row_stride, column_stride), b, b_stride) in parts {
                let a = Factor { data, row_stride, column_stride };
                let out = (&mut drows[side..], 3 * hidden);
                product::<FUSED>([length, length, size], a, (b, b_stride), out);
            }
        }
        drows.chunks_exact(3 * hidden).for_each(|row| columns::add(sums, row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::numbers;
    use crate::thread_pool::SingleThread;

    /// Returns `sum(weights * context)` in double precision, computed from the formula.
    fn value(of: Attention, stacked: &[f64], starts: &[i64], weights: &[f64]) -> f64 {
        let hidden = of.hidden();
        let mut total = 0.0;
        for pair in starts.windows(2) {
            let rows = pair[0] as usize..pair[1] as usize;
            for head in 0..of.heads {
                let part = |row: usize, side: usize| {
                    &stacked[row * 3 * hidden + side * hidden + head * of.size..][..of.size]
                };
                for row in rows.clone() {
                    let score = |other: usize| -> f64 {
                        let dot: f64 = part(row, 0).iter().zip(part(other, 1)).map(|(q, k)| q * k).sum();
                        dot / (of.size as f64).sqrt()
                    };
                    let all: f64 = rows.clone().map(|other| score(other).exp()).sum();
                    for other in rows.clone() {
                        let weight = &weights[row * hidden + head * of.size..][..of.size];
                        let dot: f64 = part(other, 2).iter().zip(weight).map(|(v, w)| v * w).sum();
                        total += score(other).exp() / all * dot;
                    }
                }
            }
        }
        total
    }

    #[test]
    fn gradients_are_the_slopes_of_the_result() {
        // Covers widths and lengths that are not multiples of a vector, empty texts, and more rows
        // than one task takes.
        let of = Attention { heads: 3, size: 10 };
        let starts = [0, 1, 8, 8, 17, 30, 95, 140];
        let texts = Texts::new(&starts).expect("rising");
        let (rows, hidden) = (texts.rows(), of.hidden());
        let (stacked, weights) = (numbers(rows * 3 * hidden, 613), numbers(rows * hidden, 377));
        let (mut context, mut probabilities) =
            (vec![0.0; rows * hidden], vec![f32::NAN; of.probabilities(&texts)]);
        of.forward(&SingleThread, &stacked, &texts, &mut context, &mut probabilities);
        let double = |numbers: &[f32]| numbers.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
        let (stacked64, weights64) = (double(&stacked), double(&weights));
        let found: f64 = double(&context).iter().zip(&weights64).map(|(c, w)| c * w).sum();
        let exact = value(of, &stacked64, &starts, &weights64);
        assert!((found - exact).abs() < 1e-3, "{found}, not {exact}");

        let (mut dstacked, mut columns) = (vec![f32::NAN; stacked.len()], vec![0.0; 3 * hidden]);
        of.backward(&SingleThread, &weights, &stacked, &texts, &probabilities, &mut dstacked, &mut columns);
        for at in (0..stacked.len()).step_by(97) {
            let (mut up, mut down) = (stacked64.clone(), stacked64.clone());
            up[at] += 1e-4;
            down[at] -= 1e-4;
            let slope = (value(of, &up, &starts, &weights64) - value(of, &down, &starts, &weights64)) / 2e-4;
            assert!(
                (f64::from(dstacked[at]) - slope).abs() < 1e-5 * (1.0 + slope.abs()),
                "{at}: {} {slope}",
                dstacked[at]
            );
        }
        for (at, column) in columns.iter().enumerate() {
            let sum: f32 = dstacked.iter().skip(at).step_by(3 * hidden).sum();
            assert!((column - sum).abs() < 1e-4);
        }
    }

    #[test]
    fn every_width_agrees_with_the_plain_body() {
        let of = Attention { heads: 2, size: 12 };
        let lengths = [7, 1, 12];
        let (stacked, upstream) = (numbers(20 * 72, 613), numbers(20 * 24, 377));
        let probabilities = lengths.iter().map(|length| of.of_text(*length)).sum();
        let (mut wide, mut plain) =
            ((vec![0.0; 20 * 24], vec![0.0; probabilities]), (vec![0.0; 20 * 24], vec![0.0; probabilities]));
        attend(of, &lengths, &stacked, &mut wide.0, &mut wide.1);
        attend_body::<false>(of, &lengths, &stacked, &mut plain.0, &mut plain.1);
        let near =
            |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + b.abs()));
        assert!(near(&wide.0, &plain.0) && near(&wide.1, &plain.1));
        let (mut wide_back, mut plain_back) =
            ((vec![0.0; 20 * 72], vec![0.0; 72]), (vec![0.0; 20 * 72], vec![0.0; 72]));
        backward_part(of, &lengths, &upstream, &stacked, &wide.1, &mut wide_back.0, &mut wide_back.1);
        backward_part_body::<false>(
            of,
            &lengths,
            &upstream,
            &stacked,
            &plain.1,
            &mut plain_back.0,
            &mut plain_back.1,
        );
        assert!(near(&wide_back.0, &plain_back.0) && near(&wide_back.1, &plain_back.1));
    }

    #[test]
    fn texts_that_fall_are_refused() {
        assert!(Texts::new(&[0, 3, 2]).is_none());
        assert!(Texts::new(&[1, 3]).is_none());
        assert!(Texts::new(&[]).is_none());
        assert!(Texts::new(&[0]).is_some());
    }
}
