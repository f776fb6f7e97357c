//! Pairs in the form that the training graphs take.

use std::collections::{HashMap, HashSet};

use ndarray::Array2;

use crate::model::{EncoderConfig, Head};
use crate::onnx::MASKED;

use super::packed::PackedTexts;
use super::{Pairs, Recipe};

/// Pairs in the form that the training graphs take.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Ids of the rows that the pairs came from.
    pub rows: Vec<i64>,
    /// Texts, in parts that are encoded one at a time; a single part unless the batch is large.
    pub(super) parts: Vec<PackedTexts>,
    /// Index of each pair's anchor among the texts of all parts.
    pub(super) anchors: Vec<usize>,
    /// Indices, among the texts of all parts, of the texts that anchors are ranked against: each
    /// pair's positive, followed by the hard negatives.
    pub(super) candidates: Vec<usize>,
    /// Mask of the scores, `[pairs, candidates]`: 0 or [`MASKED`].
    pub(super) score_mask: Array2<f32>,
    /// Share of each candidate in an anchor's answer, `[pairs, candidates]`.
    pub(super) targets: Array2<f32>,
}

impl Batch {
    /// Packs the pairs with these indices.
    ///
    /// Equal texts are encoded once, and are never negatives of each other. A hard negative counts
    /// once, for the whole batch. It does not count when it is also a positive of the batch,
    /// because it is a negative of the other pairs already.
    pub fn new(pairs: &Pairs, indices: &[usize], config: &EncoderConfig, head: Head) -> Self {
        Self::in_parts(pairs, indices, config, head, usize::MAX)
    }

    /// Packs pairs like [`Batch::new`], in parts when there are more texts than those of
    /// `mini_batch` pairs (two texts per pair).
    pub fn in_parts(
        pairs: &Pairs,
        indices: &[usize],
        config: &EncoderConfig,
        head: Head,
        mini_batch: usize,
    ) -> Self {
        let mut texts: Vec<&[u32]> = Vec::new();
        let mut places = HashMap::new();
        let mut place = |text: usize| {
            *places.entry(text).or_insert_with(|| {
                texts.push(&pairs.texts[text]);
                texts.len() - 1
            })
        };
        let anchors: Vec<usize> = indices.iter().map(|pair| place(pairs.sides[*pair].0)).collect();
        let positives: Vec<usize> = indices.iter().map(|pair| place(pairs.sides[*pair].1)).collect();
        let count = indices.len();
        let known: HashSet<usize> = positives.iter().copied().collect();
        let mut more = HashSet::new();
        let negatives = indices.iter().flat_map(|pair| pairs.negatives_of(*pair)).map(|text| place(*text));
        let negatives: Vec<usize> =
            negatives.filter(|text| !known.contains(text) && more.insert(*text)).collect();
        let candidates = [positives.as_slice(), &negatives].concat();
        let of_a_part = mini_batch.saturating_mul(2).max(1);
        let pack = |part: &[&[u32]]| PackedTexts::new(part, config, head.pooling);
        let parts = texts.chunks(of_a_part).map(pack).collect();
        let shape = (count, candidates.len());
        let score_mask = Array2::from_shape_fn(shape, |(i, j)| {
            let equal = positives[i] == candidates[j]
                || anchors[i] == candidates[j]
                || anchors.get(j).is_some_and(|anchor| anchors[i] == *anchor);
            if i != j && equal { MASKED } else { 0.0 }
        });
        Self {
            rows: indices.iter().map(|pair| pairs.rows[*pair]).collect(),
            parts,
            anchors,
            candidates,
            score_mask,
            targets: Array2::from_shape_fn(shape, |(i, j)| if i == j { 1.0 } else { 0.0 }),
        }
    }

    /// Packs pairs with the recipe's `mini_batch` and `label_smoothing`.
    pub fn of_recipe(
        recipe: &Recipe,
        pairs: &Pairs,
        indices: &[usize],
        config: &EncoderConfig,
        head: Head,
    ) -> Self {
        Self::in_parts(pairs, indices, config, head, recipe.mini_batch).smoothed(recipe.label_smoothing)
    }

    /// Spreads a `share` of every target evenly over the positives that are not masked in its row,
    /// the right one included. This is the label smoothing of `torch.nn.functional.cross_entropy`,
    /// over the possible answers. Hard negatives never get a part, since they are the positive of
    /// no pair.
    pub fn smoothed(mut self, share: f32) -> Self {
        let pairs = self.rows.len();
        for (row, (mut targets, mask)) in
            self.targets.rows_mut().into_iter().zip(self.score_mask.rows()).enumerate()
        {
            let counted = mask.iter().take(pairs).filter(|mask| **mask == 0.0).count();
            let part = share / counted.max(1) as f32;
            for (place, (target, mask)) in targets.iter_mut().zip(mask).take(pairs).enumerate() {
                let right = if place == row { 1.0 - share } else { 0.0 };
                *target = if *mask == 0.0 { right + part } else { 0.0 };
            }
        }
        self
    }

    /// Returns the number of tokens that are encoded.
    pub fn tokens(&self) -> usize {
        self.parts.iter().map(PackedTexts::tokens).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelFolder;
    use crate::train::Vocabulary;

    /// Hard negatives are texts, too: a part never holds more texts than `mini_batch` pairs have.
    #[test]
    fn parts_are_cut_by_texts() {
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny");
        let folder = ModelFolder::open(std::path::Path::new(tiny)).unwrap();
        let text = |number: u32| vec![2, 5 + number, 3];
        let of = |first: u32| (first..first + 4).map(text).collect::<Vec<_>>();
        let (anchors, positives) = (of(0), of(4));
        let negatives: Vec<Vec<Vec<u32>>> = of(8).into_iter().map(|negative| vec![negative]).collect();
        let vocabulary = Vocabulary::of(anchors.iter().chain(&positives).chain(negatives.iter().flatten()));
        let sizes = |negatives: &[Vec<Vec<u32>>], mini_batch| -> Vec<usize> {
            let rows = (0..4).collect();
            let pairs = Pairs::with_negatives(rows, &anchors, &positives, negatives, &vocabulary).unwrap();
            let batch = Batch::in_parts(&pairs, &[0, 1, 2, 3], &folder.config, folder.head, mini_batch);
            batch.parts.iter().map(PackedTexts::texts).collect()
        };
        assert_eq!(sizes(&[], 4), [8]);
        assert_eq!(sizes(&[], 3), [6, 2]);
        assert_eq!(sizes(&negatives, 4), [8, 4]);
        assert_eq!(sizes(&negatives, 6), [12]);
    }

    /// The targets are those of `torch.nn.functional.cross_entropy` in a row without masked
    /// candidates. Masked candidates and hard negatives get nothing.
    #[test]
    fn smoothing_spreads_a_share_over_what_may_be_an_answer() {
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny");
        let folder = ModelFolder::open(std::path::Path::new(tiny)).unwrap();
        let text = |number: u32| vec![2, 5 + number, 3];
        // The second and third pairs share a correction, and the first pair has a hard negative.
        let (anchors, positives) = ([0, 1, 2, 3].map(text).to_vec(), [4, 5, 5, 6].map(text).to_vec());
        let negatives = vec![vec![text(7)]];
        let vocabulary = Vocabulary::of(anchors.iter().chain(&positives).chain(&negatives[0]));
        let pairs =
            Pairs::with_negatives((0..4).collect(), &anchors, &positives, &negatives, &vocabulary).unwrap();
        let batch = Batch::new(&pairs, &[0, 1, 2, 3], &folder.config, folder.head).smoothed(0.6);
        let quarter = [0.55, 0.15, 0.15, 0.15, 0.0];
        let expected = [quarter, [0.2, 0.6, 0.0, 0.2, 0.0], [0.2, 0.0, 0.6, 0.2, 0.0], {
            let mut last = quarter;
            last.swap(0, 3);
            last
        }];
        for (row, expected) in batch.targets.rows().into_iter().zip(expected) {
            assert!(row.iter().zip(expected).all(|(found, exact)| (found - exact).abs() < 1e-6), "{row}");
        }
    }
}
