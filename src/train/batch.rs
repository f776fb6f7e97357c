//! Pairs as the training graphs are fed with them.

use std::collections::{HashMap, HashSet};

use ndarray::Array2;

use crate::model::{EncoderConfig, Head};
use crate::onnx::MASKED;

use super::Pairs;
use super::packed::PackedTexts;

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

    /// The same, to be encoded in parts when there are more than `mini_batch` pairs.
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
        let of_a_part = if count > mini_batch { mini_batch.saturating_mul(2).max(1) } else { texts.len() };
        let pack = |part: &[&[u32]]| PackedTexts::new(part, config, head.pooling);
        let parts = texts.chunks(of_a_part.max(1)).map(pack).collect();
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

    /// Number of tokens that are encoded.
    pub fn tokens(&self) -> usize {
        self.parts.iter().map(PackedTexts::tokens).sum()
    }
}
