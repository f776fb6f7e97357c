//! Real and synthetic pairs of each epoch, in the form that training reads.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Neighbors, Synthesizer};
use crate::correction::Templates;
use autovalidate_finetune::model::{ModelError, Tokenizer};
use autovalidate_finetune::train::{PairSource, PairTexts, Pairs, TrainError, Vocabulary};

/// Source of each epoch's pairs: every real pair, plus newly drawn synthetic pairs.
pub struct EpochDataset {
    real: Vec<PairTexts>,
    synthesizer: Synthesizer,
    templates: Templates,
    seed: u64,
    /// Number of hard negatives per pair, and the neighbors they are drawn from.
    negatives: Option<(usize, Neighbors)>,
}

impl EpochDataset {
    /// Creates a dataset of rendered real pairs and of the pairs that `synthesizer` draws with
    /// `seed`.
    pub fn new(real: Vec<PairTexts>, synthesizer: Synthesizer, templates: Templates, seed: u64) -> Self {
        Self { real, synthesizer, templates, seed, negatives: None }
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
        let synthetic = self.synthesizer.epoch(self.seed, epoch, self.real.len());
        let synthetic = (1..).zip(synthetic).map(|(number, pair): (i64, _)| PairTexts {
            row: -number,
            anchor: self.templates.render(&pair.domain, &pair.typo),
            positive: self.templates.render(&pair.domain, &pair.corrected),
            negatives: Vec::new(),
        });
        let mut pairs: Vec<PairTexts> = self.real.iter().cloned().chain(synthetic).collect();
        if let Some((count, neighbors)) = &self.negatives {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            // The sampler and the synthesizer use the streams below 2^32.
            random.set_stream((1 << 32) + epoch as u64);
            for pair in &mut pairs {
                pair.negatives = neighbors.draw(&pair.positive, *count, &mut random);
            }
        }
        pairs
    }

    /// Returns every token id of `epochs` epochs, each once, in ascending order. The run's
    /// vocabulary must contain all of them.
    ///
    /// # Errors
    /// [`ModelError`] when the tokenizer rejects a text.
    pub fn token_ids(&self, tokenizer: &Tokenizer, epochs: usize) -> Result<Vec<u32>, ModelError> {
        let (mut ids, mut names) = (BTreeSet::new(), HashSet::new());
        for epoch in 0..epochs {
            for pair in self.epoch(epoch) {
                // A name is the correction of many pairs, while few typos repeat.
                let of_pair = [pair.positive].into_iter().chain(pair.negatives);
                let new = of_pair.filter(|name| names.insert(name.clone()));
                let texts: Vec<String> = [pair.anchor].into_iter().chain(new).collect();
                ids.extend(tokenizer.encode(&texts)?.texts.into_iter().flatten());
            }
        }
        Ok(ids.into_iter().collect())
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
