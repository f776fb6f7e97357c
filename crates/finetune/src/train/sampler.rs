//! Batches in which no text occurs in two pairs, unless the recipe allows duplicates.
//!
//! Two pairs with the same correction would be each other's negatives, and the loss would push
//! apart texts that it should pull together. So each batch takes pairs in shuffled order, and
//! defers pairs that share a text with it to later batches. Every pair is used once per epoch.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

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
    if duplicates {
        return order.chunks(batch_size).fold(Vec::new(), |mut batches, batch| {
            add(&mut batches, batch.to_vec(), batch_size);
            batches
        });
    }
    let mut waiting = Waiting::new(pairs, &order);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    loop {
        let batch = waiting.batch(pairs, &order, batch_size);
        if batch.is_empty() {
            return batches;
        }
        add(&mut batches, batch, batch_size);
    }
}

/// Adds a batch. A single pair joins the batch before it if that has room.
fn add(batches: &mut Vec<Vec<usize>>, mut batch: Vec<usize>, batch_size: usize) {
    match batches.last_mut() {
        Some(previous) if batch.len() == 1 && previous.len() < 2 * batch_size => previous.append(&mut batch),
        _ => batches.push(batch),
    }
}

/// Pairs that are in no batch yet, by their places in the shuffled order.
///
/// Pairs with a common text can't meet in a batch. So they form a group, of which only the first is a
/// candidate: looking at each pair in turn for each batch would take time in proportion to the square of
/// the pairs when one correction has most of them. A pair belongs to the group of the more frequent of its
/// two texts.
struct Waiting {
    /// Remaining members of each group that are not candidates yet, from the last to the first.
    groups: HashMap<usize, Vec<usize>>,
    /// Candidates with their groups, the first in the order on top.
    candidates: BinaryHeap<Reverse<(usize, usize)>>,
}

impl Waiting {
    fn new(pairs: &Pairs, order: &[usize]) -> Self {
        let mut frequency: HashMap<usize, usize> = HashMap::new();
        for (anchor, positive) in &pairs.sides {
            *frequency.entry(*anchor).or_default() += 1;
            *frequency.entry(*positive).or_default() += 1;
        }
        let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
        for (place, pair) in order.iter().enumerate().rev() {
            let (anchor, positive) = pairs.sides[*pair];
            let group = if frequency[&anchor] > frequency[&positive] { anchor } else { positive };
            groups.entry(group).or_default().push(place);
        }
        let mut waiting = Self { groups, candidates: BinaryHeap::new() };
        let all: Vec<usize> = waiting.groups.keys().copied().collect();
        all.into_iter().for_each(|group| waiting.advance(group));
        waiting
    }

    /// Makes the next member of a group a candidate.
    fn advance(&mut self, group: usize) {
        let next = self.groups.get_mut(&group).and_then(Vec::pop);
        self.candidates.extend(next.map(|place| Reverse((place, group))));
    }

    /// Takes the next batch: in their order, all pairs that share no text with one before them in the batch,
    /// up to `batch_size`. Returns an empty one when no pair is left.
    fn batch(&mut self, pairs: &Pairs, order: &[usize], batch_size: usize) -> Vec<usize> {
        let mut batch = Vec::with_capacity(batch_size);
        let mut texts = HashSet::with_capacity(2 * batch_size);
        let (mut deferred, mut used) = (Vec::new(), Vec::new());
        while batch.len() < batch_size {
            let Some(Reverse((place, group))) = self.candidates.pop() else { break };
            let (anchor, positive) = pairs.sides[order[place]];
            if !texts.contains(&anchor) && !texts.contains(&positive) {
                texts.extend([anchor, positive]);
                batch.push(order[place]);
                used.push(group);
                continue;
            }
            deferred.push(Reverse((place, group)));
            // The other text is in the way, so the group's next member may still have its turn.
            if !texts.contains(&group) {
                self.advance(group);
            }
        }
        self.candidates.extend(deferred);
        used.into_iter().for_each(|group| self.advance(group));
        batch
    }
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

    /// Batches by looking at every pair for every batch, which is slow and plainly right.
    fn one_by_one(pairs: &Pairs, batch_size: usize, seed: u64, epoch: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(epoch as u64);
        order.shuffle(&mut random);
        let mut batches = Vec::new();
        while !order.is_empty() {
            let (mut batch, mut texts) = (Vec::new(), HashSet::new());
            order.retain(|pair| {
                let (anchor, positive) = pairs.sides[*pair];
                let taken =
                    batch.len() < batch_size && !texts.contains(&anchor) && !texts.contains(&positive);
                if taken {
                    texts.extend([anchor, positive]);
                    batch.push(*pair);
                }
                !taken
            });
            add(&mut batches, batch, batch_size);
        }
        batches
    }

    proptest! {
        #[test]
        fn batches_are_those_of_looking_at_every_pair(
            sides in prop::collection::vec((0_u32..30, 0_u32..12), 1..150), size in 1_usize..20, seed: u64, epoch in 0_usize..3,
        ) {
            // Few texts, which are anchors of some pairs and positives of others.
            let anchors: Vec<Vec<u32>> = sides.iter().map(|(anchor, _)| vec![1, *anchor + 3]).collect();
            let positives: Vec<Vec<u32>> = sides.iter().map(|(_, positive)| vec![1, *positive + 3]).collect();
            let vocabulary = Vocabulary::of(anchors.iter().chain(&positives));
            let pairs = Pairs::new((0..sides.len() as i64).collect(), &anchors, &positives, &vocabulary).unwrap();
            prop_assert_eq!(batches(&pairs, size, false, seed, epoch), one_by_one(&pairs, size, seed, epoch));
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
