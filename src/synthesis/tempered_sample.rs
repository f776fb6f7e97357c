//! A sample of the real pairs for an epoch that can't hold them all.
//!
//! With millions of rows, most pairs correct to a few frequent names, and ever more of them teach ever
//! less. Each correction gets a share that grows with the square root of its number of pairs, and another
//! sample of its pairs each epoch.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use super::PairTable;

/// Pairs by their correction, for drawing samples.
pub(super) struct TemperedSample {
    /// Positions of each correction's pairs, in the order of the first ones.
    corrections: Vec<Vec<u32>>,
}

impl TemperedSample {
    pub(super) fn new(pairs: &impl PairTable) -> Self {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut corrections: Vec<Vec<u32>> = Vec::new();
        for (position, pair) in (0..).zip(pairs.all()) {
            let next = corrections.len();
            let place = *places.entry(pair.positive).or_insert(next);
            if place == next {
                corrections.push(Vec::new());
            }
            corrections[place].push(position);
        }
        Self { corrections }
    }

    /// Draws the positions of `count` pairs, in ascending order; of all pairs, if there are not more.
    /// `stream` separates one epoch's draws from another's.
    pub(super) fn draw(&self, count: usize, seed: u64, stream: u64) -> Vec<u32> {
        let sizes: Vec<usize> = self.corrections.iter().map(Vec::len).collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        let mut drawn = Vec::with_capacity(count);
        for (pairs, quota) in self.corrections.iter().zip(quotas(&sizes, count)) {
            drawn.extend(sample(&mut random, pairs.len(), quota).into_iter().map(|at| pairs[at]));
        }
        drawn.sort_unstable();
        drawn
    }
}

/// Divides `count` among groups in proportion to the square roots of their sizes. A group gets at most its
/// size, and what it can't take goes to the larger ones.
fn quotas(sizes: &[usize], count: usize) -> Vec<usize> {
    let mut ascending: Vec<usize> = (0..sizes.len()).collect();
    ascending.sort_by_key(|group| (sizes[*group], *group));
    let mut quotas = vec![0; sizes.len()];
    let mut left = count.min(sizes.iter().sum());
    let mut weight: f64 = sizes.iter().map(|size| (*size as f64).sqrt()).sum();
    for group in ascending {
        let own = (sizes[group] as f64).sqrt();
        // The last group has all of the weight that is left, and takes all that is left.
        let share = if weight > own { (left as f64 * own / weight).round() as usize } else { left };
        quotas[group] = share.min(sizes[group]).min(left);
        left -= quotas[group];
        weight -= own;
    }
    // Rounding may leave some for groups that have pairs left.
    for (quota, size) in quotas.iter_mut().zip(sizes) {
        let more = (size - *quota).min(left);
        *quota += more;
        left -= more;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use autovalidate_finetune::train::PairTexts;

    #[test]
    fn shares_grow_with_the_root_of_the_size() {
        assert_eq!(quotas(&[100, 400, 2_500], 160), [20, 40, 100]);
        assert_eq!(quotas(&[1, 1, 10_000], 102), [1, 1, 100]);
        assert_eq!(quotas(&[3, 5], 100), [3, 5]);
        assert_eq!(quotas(&[], 5), [0; 0]);
    }

    fn pairs(corrections: &[u8]) -> Vec<PairTexts> {
        let pair = |(row, correction): (i64, &u8)| PairTexts {
            row,
            anchor: format!("typo {row}"),
            positive: format!("name {correction}"),
            negatives: Vec::new(),
        };
        (0..).zip(corrections).map(pair).collect()
    }

    proptest! {
        #[test]
        fn a_sample_has_the_wanted_size_no_pair_twice_and_each_correction_if_there_is_room(
            corrections in prop::collection::vec(0_u8..9, 0..200), count in 0_usize..250, seed: u64,
        ) {
            let pairs = pairs(&corrections);
            let sample = TemperedSample::new(&pairs);
            let drawn = sample.draw(count, seed, 1);
            prop_assert_eq!(drawn.len(), count.min(pairs.len()));
            prop_assert!(drawn.is_sorted_by(|one, other| one < other));
            prop_assert_eq!(&drawn, &sample.draw(count, seed, 1));
            let distinct = |of: &[u32]| of.iter().map(|at| &pairs[*at as usize].positive).collect::<BTreeSet<_>>().len();
            let all: Vec<u32> = (0..pairs.len() as u32).collect();
            if count >= 10 * distinct(&all) {
                prop_assert_eq!(distinct(&drawn), distinct(&all));
            }
        }
    }
}
