//! Tokenized pairs. Equal texts share one number, so that equal pairs can be recognized.

use std::collections::HashMap;

use super::Vocabulary;

/// A pair as the model sees it: the rendered texts of a typo and of its correction.
#[derive(Clone, PartialEq, Eq)]
pub struct PairTexts {
    /// Id of the row that the pair came from.
    pub row: i64,
    /// Rendered typo.
    pub anchor: String,
    /// Rendered correction.
    pub positive: String,
    /// Rendered hard negatives: names that are easily confused with the correction. Usually none.
    pub negatives: Vec<String>,
}

/// Pairs, ready to be batched. Texts are interned: equal texts have equal numbers.
#[derive(Debug, Clone)]
pub struct Pairs {
    /// Id of the row that each pair came from.
    pub(super) rows: Vec<i64>,
    /// Text numbers of each pair's anchor and positive.
    pub(super) sides: Vec<(usize, usize)>,
    /// Text numbers of each pair's hard negatives. The list may be shorter than that of the pairs:
    /// the last pairs then have none.
    pub(super) negatives: Vec<Vec<usize>>,
    /// Compact vocabulary rows of each text.
    pub(super) texts: Vec<Vec<u32>>,
}

impl Pairs {
    /// Interns tokenized pairs. `anchors` and `positives` hold token ids, `rows` the ids of the
    /// rows.
    ///
    /// Returns `None` when a token is not in the vocabulary, or when the three lists differ in
    /// length.
    pub fn new(
        rows: Vec<i64>,
        anchors: &[Vec<u32>],
        positives: &[Vec<u32>],
        vocabulary: &Vocabulary,
    ) -> Option<Self> {
        Self::with_negatives(rows, anchors, positives, &[], vocabulary)
    }

    /// Interns pairs like [`Pairs::new`], with hard negatives: for each of the first pairs, or for
    /// all of them, the token ids of its hard negatives.
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

    /// Returns the text numbers of a pair's hard negatives.
    pub(super) fn negatives_of(&self, pair: usize) -> &[usize] {
        self.negatives.get(pair).map_or(&[], Vec::as_slice)
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns true when there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns these pairs, followed by each of them reversed as an example of its own.
    ///
    /// A pair and its reverse share their texts, so batches keep them apart. If the two do meet in
    /// a batch, the score mask keeps them from being negatives. Hard negatives stay with the
    /// original pairs.
    pub fn with_reversed(&self) -> Self {
        let mut both = self.clone();
        both.rows.extend_from_within(..);
        both.sides.extend(self.sides.iter().map(|(anchor, positive)| (*positive, *anchor)));
        both
    }

    /// Returns the number of different positives, which is the size of the largest batch without
    /// equal corrections.
    pub fn distinct_positives(&self) -> usize {
        let mut positives: Vec<usize> = self.sides.iter().map(|(_, positive)| *positive).collect();
        positives.sort_unstable();
        positives.dedup();
        positives.len()
    }
}
