//! Batches in which no text occurs in two pairs, unless the recipe allows duplicates.
//!
//! Two pairs with the same correction would be each other's negatives, and the loss would push
//! apart texts that it should pull together. So each batch takes pairs in shuffled order, and
//! defers pairs that share a text with it to later batches. Every pair is used once per epoch.

use std::collections::{HashSet, VecDeque};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Pairs;

/// Returns the batches of one epoch, as indices of pairs. The same seed and epoch give the same
/// batches.
///
/// Batches are full as long as enough different texts remain. The batches at the end, with many
/// pairs of few corrections, are smaller. A batch of one pair has no negative and teaches nothing,
/// so a single pair joins the batch before it if that has less than twice the batch size. There the
/// score mask keeps equal texts from being negatives. With `duplicates`, equal texts are not kept
/// apart, and every batch but the last is full.
pub fn batches(
    pairs: &Pairs,
    batch_size: usize,
    duplicates: bool,
    seed: u64,
    epoch: usize,
) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(epoch as u64);
    order.shuffle(&mut random);

    let mut waiting: VecDeque<usize> = order.into();
    let mut batches: Vec<Vec<usize>> = Vec::new();
    while !waiting.is_empty() {
        let mut batch = Vec::with_capacity(batch_size);
        let mut texts = HashSet::with_capacity(2 * batch_size);
        let mut deferred = VecDeque::new();
        while batch.len() < batch_size {
            let Some(pair) = waiting.pop_front() else { break };
            let (anchor, positive) = pairs.sides[pair];
            if !duplicates && (texts.contains(&anchor) || texts.contains(&positive)) {
                deferred.push_back(pair);
            } else {
                texts.extend([anchor, positive]);
                batch.push(pair);
            }
        }
        // Deferred pairs come first in the next batch, in their order.
        while let Some(pair) = deferred.pop_back() {
            waiting.push_front(pair);
        }
        match batches.last_mut() {
            Some(previous) if batch.len() == 1 && previous.len() < 2 * batch_size => {
                previous.append(&mut batch);
            }
            _ => batches.push(batch),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Vocabulary;
    use proptest::prelude::*;

    fn pairs(corrections: &[u32]) -> Pairs {
        let anchors: Vec<Vec<u32>> =
            (0..corrections.len() as u32).map(|index| vec![1, 1_000 + index]).collect();
        let positives: Vec<Vec<u32>> =
            corrections.iter().map(|correction| vec![1, 2, *correction + 3]).collect();
        let vocabulary = Vocabulary::of(anchors.iter().chain(&positives));
        Pairs::new((0..corrections.len() as i64).collect(), &anchors, &positives, &vocabulary).unwrap()
    }

    proptest! {
        #[test]
        fn every_pair_once_and_no_equal_corrections(
            corrections in prop::collection::vec(0_u32..20, 2..120), size in 2_usize..40, seed: u64, epoch in 0_usize..5,
        ) {
            let pairs = pairs(&corrections);
            let batches = super::batches(&pairs, size, false, seed, epoch);
            let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..pairs.len()).collect::<Vec<_>>());
            for (index, batch) in batches.iter().enumerate() {
                prop_assert!(batch.len() <= 2 * size);
                // The batch proper ends before the first equal correction, which only a single pair
                // from a later batch can bring.
                let mut distinct = HashSet::new();
                let proper = batch.iter().take_while(|pair| distinct.insert(pairs.sides[**pair].1)).count();
                let left: HashSet<usize> = batches[index..].iter().flatten().map(|pair| pairs.sides[*pair].1).collect();
                prop_assert_eq!(proper.min(size), left.len().min(size));
            }
            prop_assert_eq!(&batches, &super::batches(&pairs, size, false, seed, epoch));
        }
    }

    #[test]
    fn where_equal_texts_may_meet_all_batches_but_the_last_are_full() {
        let pairs = pairs(&(0..50).map(|number| number % 3).collect::<Vec<_>>());
        let sizes =
            |duplicates| batches(&pairs, 8, duplicates, 1, 0).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(true), [8, 8, 8, 8, 8, 8, 2]);
        assert!(sizes(false).len() > 7, "three corrections can't fill a batch");
    }

    #[test]
    fn another_epoch_has_another_order() {
        let pairs = pairs(&(0..50).collect::<Vec<_>>());
        assert_ne!(batches(&pairs, 8, false, 1, 0), batches(&pairs, 8, false, 1, 1));
        assert_ne!(batches(&pairs, 8, false, 1, 0), batches(&pairs, 8, false, 2, 0));
    }
}
