//! The real pairs of a run, by position.

use autovalidate_finetune::train::PairTexts;

/// Real pairs, which need not all be in memory as texts.
pub trait PairTable {
    /// Returns the number of pairs.
    fn len(&self) -> usize;

    /// Returns the pair at a position below [`len`](Self::len).
    fn pair(&self, position: usize) -> PairTexts;

    /// Returns all pairs.
    fn all(&self) -> impl Iterator<Item = PairTexts> {
        (0..self.len()).map(|position| self.pair(position))
    }

    /// Returns true when there is no pair.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PairTable for Vec<PairTexts> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn pair(&self, position: usize) -> PairTexts {
        self[position].clone()
    }
}
