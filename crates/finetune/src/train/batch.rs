//! Pairs as the training graphs are fed with them.

use std::collections::{HashMap, HashSet};

use ndarray::Array2;

use crate::model::{EncoderConfig, Head};
use crate::onnx::MASKED;

use super::packed::PackedTexts;
use super::{Pairs, Recipe};

/// Pairs as the training graphs are fed with them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Ids of the rows the pairs came from.
    pub rows: Vec<i64>,
    /// The texts, in parts that are encoded at a time; one part unless the batch is large.
    pub(super) parts: Vec<PackedTexts>,
    /// Each pair's anchor, as its place among the texts of all parts.
    pub(super) anchors: Vec<usize>,
    /// What anchors are ranked against, likewise: each pair's positive, and behind them the hard negatives.
    pub(super) candidates: Vec<usize>,
    /// `[pairs, candidates]`, as are the targets.
    pub(super) score_mask: Array2<f32>,
    pub(super) targets: Array2<f32>,
}

impl Batch {
    /// Packs the pairs with these indices. Equal texts are encoded once, and are never negatives of each other. Hard
    /// negatives count for the whole batch, each once, and not where they are a positive of the batch: there they are a
    /// negative already.
    pub fn new(pairs: &Pairs, indices: &[usize], config: &EncoderConfig, head: Head) -> Self {
        Self::in_parts(pairs, indices, config, head, usize::MAX)
    }

    /// The same, to be encoded in parts when there are more texts than `mini_batch` pairs have, two each.
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

    /// As a recipe has its batches: in parts of its size, smoothed by its share.
    pub fn of_recipe(
        recipe: &Recipe,
        pairs: &Pairs,
        indices: &[usize],
        config: &EncoderConfig,
        head: Head,
    ) -> Self {
        Self::in_parts(pairs, indices, config, head, recipe.mini_batch).smoothed(recipe.label_smoothing)
    }

    /// The same with a `share` of every target spread evenly over the pairs' positives that count in its row, the right one
    /// included: label smoothing as `torch.nn.functional.cross_entropy` has it, over what may be an answer. Hard negatives
    /// never get a part, as they are nobody's.
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

    /// Number of tokens that are encoded.
    pub fn tokens(&self) -> usize {
        self.parts.iter().map(PackedTexts::tokens).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelFolder;
    use crate::train::Vocabulary;

    /// Hard negatives are texts, too: a part never holds more than `mini_batch` pairs have.
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

    /// `torch.nn.functional.cross_entropy`'s targets where everything counts; what is masked gets nothing, nor do hard negatives.
    #[test]
    fn smoothing_spreads_a_share_over_what_may_be_an_answer() {
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny");
        let folder = ModelFolder::open(std::path::Path::new(tiny)).unwrap();
        let text = |number: u32| vec![2, 5 + number, 3];
        // The second and third pair have one correction, and the first one has a hard negative.
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
