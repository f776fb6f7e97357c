//! Vocabulary compaction: training only those rows of the token table that a run's texts use.
//!
//! This is exact, not an approximation. The token ids of a run are known before it starts. Every
//! other row has a zero gradient and zero moments, so AdamW only decays it.
//! [`Moments`](super::Moments) keep the product of those decays, and saving applies it to the rows
//! that were left out.

use std::collections::{BTreeSet, HashMap};

use super::TrainError;
use crate::model::Tokenizer;

/// Returns every token id of these texts, each once, in ascending order, and the number of texts that the
/// tokenizer cuts. The texts need not be in memory at the same time. `goes_on` is asked before each.
///
/// # Errors
/// [`TrainError::Model`] when the tokenizer rejects a text, [`TrainError::Stopped`] when `goes_on` returns
/// false.
pub fn token_ids(
    texts: impl IntoIterator<Item = String>,
    tokenizer: &Tokenizer,
    goes_on: impl Fn() -> bool,
) -> Result<(Vec<u32>, usize), TrainError> {
    let (mut ids, mut cut) = (BTreeSet::new(), 0);
    for text in texts {
        if !goes_on() {
            return Err(TrainError::Stopped { step: 0 });
        }
        let tokens = tokenizer.encode(&[text])?;
        ids.extend(tokens.texts.into_iter().flatten());
        cut += tokens.cut;
    }
    Ok((ids.into_iter().collect(), cut))
}

/// Rows of the token table that a run uses, numbered densely in ascending order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    ids: Vec<u32>,
    rows: HashMap<u32, u32>,
}

impl Vocabulary {
    /// Returns the vocabulary of these texts.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a Vec<u32>>) -> Self {
        let mut ids: Vec<u32> = texts.into_iter().flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let rows = ids.iter().zip(0..).map(|(id, row)| (*id, row)).collect();
        Self { ids, rows }
    }

    /// Returns the token ids in the order of their compact rows.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Returns the compact row of a token id, if the vocabulary has it.
    pub fn row(&self, id: u32) -> Option<u32> {
        self.rows.get(&id).copied()
    }

    /// Replaces a text's token ids by compact rows. Returns `None` when an id is not in this
    /// vocabulary.
    pub fn compact(&self, text: &[u32]) -> Option<Vec<u32>> {
        text.iter().map(|id| self.row(*id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_rows_lead_back_to_the_ids() {
        let texts = vec![vec![101, 7, 9_000, 102], vec![101, 7, 102]];
        let vocabulary = Vocabulary::of(&texts);
        assert_eq!(vocabulary.ids(), [7, 101, 102, 9_000]);
        for text in &texts {
            let compact = vocabulary.compact(text).unwrap();
            let back: Vec<u32> = compact.iter().map(|row| vocabulary.ids()[*row as usize]).collect();
            assert_eq!(&back, text);
        }
        assert_eq!(vocabulary.compact(&[8]), None);
    }
}
