//! Tokenized pairs, with what makes two of them equal.

use std::collections::HashMap;

use super::Vocabulary;

/// A pair as text: what the model sees of a typo and of its correction.
#[derive(Clone, PartialEq, Eq)]
pub struct PairTexts {
    /// Id of the row it came from.
    pub row: i64,
    /// The typo, rendered.
    pub anchor: String,
    /// The correction, rendered.
    pub positive: String,
    /// Other names it is easily taken for, rendered; usually none.
    pub negatives: Vec<String>,
}

/// Pairs ready to be batched. Texts are interned: equal texts have equal numbers.
#[derive(Debug, Clone)]
pub struct Pairs {
    /// Id of the row each pair came from.
    pub(super) rows: Vec<i64>,
    /// Text number of each pair's anchor and positive.
    pub(super) sides: Vec<(usize, usize)>,
    /// Text numbers of each pair's hard negatives; shorter than the pairs where the last ones have none.
    pub(super) negatives: Vec<Vec<usize>>,
    /// Compact vocabulary rows of each text.
    pub(super) texts: Vec<Vec<u32>>,
}

impl Pairs {
    /// Interns tokenized pairs. `anchors` and `positives` hold token ids, `rows` the ids of the rows.
    ///
    /// Returns `None` when a token is not in the vocabulary or the three differ in length.
    pub fn new(
        rows: Vec<i64>,
        anchors: &[Vec<u32>],
        positives: &[Vec<u32>],
        vocabulary: &Vocabulary,
    ) -> Option<Self> {
        Self::with_negatives(rows, anchors, positives, &[], vocabulary)
    }

    /// The same with hard negatives: the token ids of each pair's, for the first pairs or all.
    pub fn with_negatives(
        rows: Vec<i64>,
        anchors: &[Vec<u32>],
        positives: &[Vec<u32>],
        negatives: &[Vec<Vec<u32>>],
        vocabulary: &Vocabulary,
    ) -> Option<Self> {
        if rows.len() < negatives.len() || rows.len() != anchors.len() || rows.len() != positives.len() {
            return None;
        }
        let mut texts = Vec::new();
        let mut numbers = HashMap::new();
        let mut intern = |text: &[u32]| -> Option<usize> {
            let compact = vocabulary.compact(text)?;
            Some(*numbers.entry(compact).or_insert_with_key(|compact| {
                texts.push(compact.clone());
                texts.len() - 1
            }))
        };
        let sides = anchors
            .iter()
            .zip(positives)
            .map(|(anchor, positive)| Some((intern(anchor)?, intern(positive)?)))
            .collect::<Option<Vec<_>>>()?;
        let negatives = negatives
            .iter()
            .map(|texts| texts.iter().map(|text| intern(text)).collect())
            .collect::<Option<Vec<_>>>()?;
        Some(Self { rows, sides, negatives, texts })
    }

    /// Text numbers of a pair's hard negatives.
    pub(super) fn negatives_of(&self, pair: usize) -> &[usize] {
        self.negatives.get(pair).map_or(&[], Vec::as_slice)
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// These pairs and, as examples of their own, each of them reversed. The two share their texts, so the batches
    /// keep them apart, and where they do meet the score mask keeps them from being negatives. Hard negatives stay with the
    /// pairs as they came.
    pub fn with_reversed(&self) -> Self {
        let mut both = self.clone();
        both.rows.extend_from_within(..);
        both.sides.extend(self.sides.iter().map(|(anchor, positive)| (*positive, *anchor)));
        both
    }

    /// The number of different positives: the largest batch without equal corrections.
    pub fn distinct_positives(&self) -> usize {
        let mut positives: Vec<usize> = self.sides.iter().map(|(_, positive)| *positive).collect();
        positives.sort_unstable();
        positives.dedup();
        positives.len()
    }
}
