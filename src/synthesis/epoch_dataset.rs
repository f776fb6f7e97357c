//! Real and synthetic pairs of each epoch, in the form that training reads.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::tempered_sample::TemperedSample;
use super::{Neighbors, PairTable, Synthesizer};
use crate::evaluate::Catalog;
use crate::templates::Templates;
use autovalidate_finetune::model::{ModelError, Tokenizer};
use autovalidate_finetune::train::{PairSource, PairTexts, Pairs, TrainError, Vocabulary, token_ids};

/// Source of each epoch's pairs: every real pair, plus newly drawn synthetic pairs.
pub struct EpochDataset {
    real: Vec<PairTexts>,
    synthesizer: Synthesizer,
    templates: Templates,
    seed: u64,
    /// Number of hard negatives per pair, and the neighbors they are drawn from.
    negatives: Option<(usize, Neighbors)>,
    /// Texts that the backend indexes for a name, by the name rendered alone.
    indexed: HashMap<String, Vec<String>>,
    /// Real pairs of each epoch, where not all of them fit.
    samples: Option<Samples>,
}

/// Real pairs of each epoch, drawn in advance: pairs that no epoch has take no memory.
struct Samples {
    /// Positions of the pairs of each epoch.
    epochs: Vec<Vec<u32>>,
    /// Largest number of synthetic pairs beside them.
    most: usize,
}

impl EpochDataset {
    /// Creates a dataset of rendered real pairs and of the pairs that `synthesizer` draws with
    /// `seed`.
    pub fn new(real: Vec<PairTexts>, synthesizer: Synthesizer, templates: Templates, seed: u64) -> Self {
        let indexed = indexed_texts(synthesizer.catalog(), &templates);
        Self { real, synthesizer, templates, seed, negatives: None, indexed, samples: None }
    }

    /// Creates the dataset of `epochs` epochs with at most `limit` pairs each. At least half of that is for
    /// real pairs if there are as many. Pairs that no epoch has are not kept.
    pub fn limited(
        pairs: &impl PairTable,
        synthesizer: Synthesizer,
        templates: Templates,
        seed: u64,
        limit: Option<usize>,
        epochs: usize,
    ) -> Self {
        let synthetic = synthesizer.size(pairs.len());
        let Some(limit) = limit.filter(|limit| pairs.len() + synthetic > *limit) else {
            return Self::new(pairs.all().collect(), synthesizer, templates, seed);
        };
        let count = limit.saturating_sub(synthetic).max(limit.div_ceil(2)).min(pairs.len());
        let sample = TemperedSample::new(pairs);
        // Indexed texts are drawn from the streams before.
        let draw = |epoch| sample.draw(count, seed, (3 << 32) + epoch as u64);
        let mut epochs: Vec<Vec<u32>> = (0..epochs).map(draw).collect();
        let mut kept: Vec<u32> = epochs.concat();
        kept.sort_unstable();
        kept.dedup();
        let place = |position: &u32| kept.partition_point(|other| other < position) as u32;
        epochs.iter_mut().flatten().for_each(|position| *position = place(position));
        let real = kept.iter().map(|position| pairs.pair(*position as usize)).collect();
        let samples = Some(Samples { epochs, most: limit - count });
        Self { samples, ..Self::new(real, synthesizer, templates, seed) }
    }

    /// Adds `count` hard negatives to each pair, drawn from the catalog names most similar to its
    /// correction.
    pub fn with_negatives(self, count: usize) -> Self {
        let neighbors = || {
            Neighbors::new(self.synthesizer.catalog(), &self.templates, |domain, name| {
                self.synthesizer.passes_over(domain, name)
            })
        };
        Self { negatives: (count > 0).then(|| (count, neighbors())), ..self }
    }

    /// Returns the pairs of an epoch, counted from 0. Each call returns the same pairs. Synthetic
    /// pairs have negative row ids.
    pub fn epoch(&self, epoch: usize) -> Vec<PairTexts> {
        let (real, most) = self.real(epoch);
        let synthetic = self.synthesizer.epoch(self.seed, epoch, real.len(), most);
        let synthetic = (1..).zip(synthetic).map(|(number, pair): (i64, _)| PairTexts {
            row: -number,
            anchor: self.templates.render(&pair.domain, &pair.typo),
            positive: self.templates.render(&pair.domain, &pair.corrected),
            negatives: Vec::new(),
        });
        let mut pairs: Vec<PairTexts> = real.into_iter().cloned().chain(synthetic).collect();
        if let Some((count, neighbors)) = &self.negatives {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            // The sampler and the synthesizer use the streams below 2^32.
            random.set_stream((1 << 32) + epoch as u64);
            for pair in &mut pairs {
                pair.negatives = neighbors.draw(&pair.positive, *count, &mut random);
            }
        }
        self.choose_indexed(&mut pairs, epoch);
        pairs
    }

    /// Returns the number of real pairs in each epoch.
    pub fn real_pairs(&self) -> usize {
        self.sampled().unwrap_or(self.real.len())
    }

    /// Returns the number of real pairs in each epoch if the limit leaves some out.
    pub fn sampled(&self) -> Option<usize> {
        self.samples.as_ref().map(|samples| samples.epochs.first().map_or(0, Vec::len))
    }

    /// Returns the real pairs of an epoch, and the largest number of synthetic ones beside them.
    fn real(&self, epoch: usize) -> (Vec<&PairTexts>, usize) {
        match &self.samples {
            None => (self.real.iter().collect(), usize::MAX),
            Some(Samples { epochs, most }) => {
                let drawn = epochs.get(epoch).into_iter().flatten();
                (drawn.map(|position| &self.real[*position as usize]).collect(), *most)
            }
        }
    }

    /// Replaces names by a text that the backend indexes for them. In one epoch, a name has one and the same
    /// text: pairs of one correction must have equal positives, since they are no negatives of each other.
    fn choose_indexed(&self, pairs: &mut [PairTexts], epoch: usize) {
        if self.indexed.is_empty() {
            return;
        }
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        // Hard negatives are drawn from the streams before.
        random.set_stream((2 << 32) + epoch as u64);
        let mut chosen: HashMap<&str, &String> = HashMap::new();
        for pair in pairs {
            for text in [&mut pair.positive].into_iter().chain(&mut pair.negatives) {
                let Some((name, texts)) = self.indexed.get_key_value(text) else { continue };
                let indexed = match chosen.entry(name) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(new) => match texts.choose(&mut random) {
                        Some(choice) => *new.insert(choice),
                        None => continue,
                    },
                };
                text.clone_from(indexed);
            }
        }
    }

    /// Returns every token id of `epochs` epochs, each once, in ascending order. The run's
    /// vocabulary must contain all of them. `goes_on` is asked all the time.
    ///
    /// # Errors
    /// [`TrainError::Model`] when the tokenizer rejects a text, [`TrainError::Stopped`] when `goes_on`
    /// returns false.
    pub fn token_ids(
        &self,
        tokenizer: &Tokenizer,
        epochs: usize,
        goes_on: impl Fn() -> bool,
    ) -> Result<Vec<u32>, TrainError> {
        let mut names = HashSet::new();
        let pairs = (0..epochs).flat_map(|epoch| self.epoch(epoch));
        let texts = pairs.flat_map(|pair| {
            // A name is the correction of many pairs, while few typos repeat.
            let of_pair = [pair.positive].into_iter().chain(pair.negatives);
            let new = of_pair.filter(|name| names.insert(name.clone()));
            [pair.anchor].into_iter().chain(new).collect::<Vec<_>>()
        });
        Ok(token_ids(texts, tokenizer, goes_on)?.0)
    }

    /// Binds the dataset to the tokenizer and vocabulary of a run. The vocabulary must contain the
    /// [`token_ids`](Self::token_ids).
    pub fn tokenized<'a>(
        &'a self,
        tokenizer: &'a Tokenizer,
        vocabulary: &'a Vocabulary,
    ) -> TokenizedEpochDataset<'a> {
        TokenizedEpochDataset { examples: self, tokenizer, vocabulary }
    }
}

/// Collects the indexed texts of names that have other ones than the name alone.
fn indexed_texts(catalog: &Catalog, templates: &Templates) -> HashMap<String, Vec<String>> {
    let mut indexed: HashMap<String, Vec<String>> = HashMap::new();
    for (domain, names) in catalog.domains() {
        for (position, text) in catalog.texts(domain, templates) {
            let alone = names.get(position).map(|name| templates.render(domain, name));
            if let Some(alone) = alone.filter(|alone| *alone != text) {
                indexed.entry(alone).or_default().push(text);
            }
        }
    }
    indexed
}

/// [`EpochDataset`] with a tokenizer and a vocabulary, as the pair source of training.
pub struct TokenizedEpochDataset<'a> {
    examples: &'a EpochDataset,
    tokenizer: &'a Tokenizer,
    vocabulary: &'a Vocabulary,
}

impl PairSource for TokenizedEpochDataset<'_> {
    fn epoch(&self, epoch: usize) -> Result<Cow<'_, Pairs>, TrainError> {
        let (mut rows, mut anchors, mut positives) = (Vec::new(), Vec::new(), Vec::new());
        let mut negatives = Vec::new();
        let mut names: HashMap<String, Vec<u32>> = HashMap::new();
        let mut of_name = |name: String| match names.entry(name) {
            Entry::Occupied(known) => Ok::<_, ModelError>(known.get().clone()),
            Entry::Vacant(new) => {
                let tokens = self.tokenizer.encode(&[new.key()])?.texts.concat();
                Ok(new.insert(tokens).clone())
            }
        };
        for pair in self.examples.epoch(epoch) {
            rows.push(pair.row);
            anchors.extend(self.tokenizer.encode(&[&pair.anchor])?.texts);
            positives.push(of_name(pair.positive)?);
            negatives.push(pair.negatives.into_iter().map(&mut of_name).collect::<Result<_, _>>()?);
        }
        let pairs = Pairs::with_negatives(rows, &anchors, &positives, &negatives, self.vocabulary);
        pairs.map(Cow::Owned).ok_or(TrainError::ForeignToken)
    }
}
