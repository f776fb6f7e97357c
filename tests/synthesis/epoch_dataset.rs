//! Pairs that training gets in each epoch.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use autovalidate::catalog_row::CatalogRow;
use autovalidate::evaluate::Catalog;
use autovalidate::synthesis::{EpochDataset, SlipRates, SynthesisSettings, TokenizedEpochDataset};
use autovalidate::templates::Templates;
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{
    PairSource, PairTexts, Pairs, ParameterBuffer, Progress, Recipe, TrainError, Vocabulary, fit,
};

use super::synthesizer;
use crate::support;

const EPOCHS: usize = 3;

fn examples() -> EpochDataset {
    let names = [("brand", "Audi"), ("brand", "Citroën"), ("brand", "Mercedes-Benz"), ("model", "Golf")];
    let settings = SynthesisSettings { variants: 4, ..SynthesisSettings::default() };
    let synthesizer = synthesizer(Catalog::new(names), SlipRates::default(), settings);
    let real = PairTexts {
        row: 7,
        anchor: "car brand: oudi".into(),
        positive: "car brand: Audi".into(),
        negatives: Vec::new(),
    };
    EpochDataset::new(vec![real], synthesizer, Templates::default(), 1)
}

#[test]
fn each_epoch_has_every_real_pair_and_fresh_synthetic_ones() {
    let examples = examples();
    let synthetic = |epoch: usize| -> BTreeSet<String> {
        let pairs = examples.epoch(epoch);
        assert_eq!(pairs.iter().filter(|pair| pair.row == 7).count(), 1);
        let made = pairs.into_iter().filter(|pair| pair.row < 0);
        made.map(|pair| {
            assert!(pair.anchor.starts_with("car brand: ") || pair.positive == "car model: Golf");
            pair.anchor
        })
        .collect()
    };
    assert_eq!(synthetic(0).len(), 16);
    assert_eq!(synthetic(0), synthetic(0));
    assert!(synthetic(0).intersection(&synthetic(1)).count() < 16);
}

#[test]
fn a_typos_positive_is_a_text_of_the_index_one_for_each_name_and_epoch() {
    let rows = ["Golf", "Polo", "Passat", "Jetta", "Tiguan", "Touran"]
        .map(|model| CatalogRow::together([("brand", "Volkswagen"), ("model", model)]));
    let templates = Templates::default();
    let names = rows.iter().flat_map(CatalogRow::names).chain([("brand", "Audi"), ("brand", "BMW")]);
    let catalog = Catalog::new(names).with_indexed(&rows, &templates);
    let settings = SynthesisSettings { variants: 4, ..SynthesisSettings::default() };
    let synthesizer = synthesizer(catalog, SlipRates::default(), settings);
    let examples = EpochDataset::new(Vec::new(), synthesizer, templates, 1).with_negatives(1);
    let mut drawn = BTreeSet::new();
    for epoch in 0..8 {
        let pairs = examples.epoch(epoch);
        assert_eq!(pairs.len(), 4 * 9);
        assert!(pairs == examples.epoch(epoch));
        let texts = || pairs.iter().flat_map(|pair| [&pair.positive].into_iter().chain(&pair.negatives));
        let of_brand: BTreeSet<&String> = texts().filter(|text| text.contains("brand: Volks")).collect();
        assert_eq!(of_brand.len(), 1, "{of_brand:?}");
        drawn.extend(of_brand.into_iter().cloned());
        assert!(texts().any(|text| text == "car model: Golf by Volkswagen"));
        assert!(texts().any(|text| text == "car brand: Audi"), "a brand without a model");
        assert!(pairs.iter().all(|pair| !pair.anchor.contains(" by ") && pair.negatives.len() == 1));
    }
    assert!(drawn.len() > 2, "{drawn:?}");
    assert!(drawn.iter().all(|text| text.starts_with("car brand: Volkswagen models: ")), "{drawn:?}");
}

#[test]
fn hard_negatives_are_names_of_the_domain_fresh_each_epoch_and_the_same_at_each_call() {
    let examples = examples().with_negatives(1);
    let of_epoch = |epoch: usize| -> Vec<(String, Vec<String>)> {
        examples.epoch(epoch).into_iter().map(|pair| (pair.positive, pair.negatives)).collect()
    };
    for (positive, negatives) in of_epoch(0) {
        // The catalog has a single model, so that model has no similar name to draw as a negative.
        assert_eq!(negatives.len(), usize::from(positive != "car model: Golf"), "{positive}");
        assert!(
            negatives.iter().all(|name| name.starts_with("car brand: ") && *name != positive),
            "{positive}"
        );
    }
    assert_eq!(of_epoch(0), of_epoch(0));
    assert_ne!(of_epoch(0), of_epoch(1));
    let tokenizer = ModelFolder::open(&support::minilm()).unwrap().tokenizer().unwrap();
    let vocabulary = Vocabulary::of([&examples.token_ids(&tokenizer, EPOCHS, || true).unwrap()]);
    let source = examples.tokenized(&tokenizer, &vocabulary);
    (0..EPOCHS).for_each(|epoch| assert_eq!(source.epoch(epoch).unwrap().len(), 17));
}

#[test]
fn the_vocabulary_is_known_before_the_start() {
    let examples = examples();
    let tokenizer = ModelFolder::open(&support::minilm()).unwrap().tokenizer().unwrap();
    let ids = examples.token_ids(&tokenizer, EPOCHS, || true).unwrap();
    let stopped = examples.token_ids(&tokenizer, EPOCHS, || false);
    assert!(matches!(stopped, Err(TrainError::Stopped { step: 0 })));
    let vocabulary = Vocabulary::of([&ids]);
    let source = examples.tokenized(&tokenizer, &vocabulary);
    for epoch in 0..EPOCHS {
        assert_eq!(source.epoch(epoch).unwrap().len(), 17);
    }
    let narrow = Vocabulary::of([&vec![101, 102]]);
    assert!(matches!(examples.tokenized(&tokenizer, &narrow).epoch(0), Err(TrainError::ForeignToken)));
}

/// Pair source that records the requested epochs.
struct Recorded<'a> {
    examples: TokenizedEpochDataset<'a>,
    asked: RefCell<Vec<usize>>,
}

impl PairSource for Recorded<'_> {
    fn epoch(&self, epoch: usize) -> Result<Cow<'_, Pairs>, TrainError> {
        self.asked.borrow_mut().push(epoch);
        self.examples.epoch(epoch)
    }
}

#[test]
fn training_takes_each_epochs_own_pairs() {
    let folder = ModelFolder::open(&support::tiny()).unwrap();
    let tokenizer = folder.tokenizer().unwrap();
    let examples = examples();
    let vocabulary = Vocabulary::of([&examples.token_ids(&tokenizer, EPOCHS, || true).unwrap()]);
    let parameters =
        ParameterBuffer::load(&folder.config, &folder.weights().unwrap(), vocabulary.clone()).unwrap();
    let recipe = Recipe { epochs: EPOCHS, batch_size: 4, learning_rate: 5e-3, ..Recipe::default() };
    let source =
        Recorded { examples: examples.tokenized(&tokenizer, &vocabulary), asked: RefCell::default() };
    let mut pairs = [0; EPOCHS];
    let mut observer = |progress: &Progress| {
        pairs[progress.epoch - 1] += progress.pairs;
        true
    };
    let runtime = Runtime::load(&support::onnxruntime(), 2).unwrap();
    let fit =
        fit(&runtime, &folder.config, folder.head, &recipe, parameters, &source, &mut observer).unwrap();
    assert_eq!(pairs, [17; EPOCHS], "every pair once per epoch");
    assert_eq!(source.asked.into_inner(), [0, 1, 2, 0, 1, 2], "planned, then taken");
    assert_eq!(fit.summary.losses.len(), fit.summary.steps);
    assert!(fit.summary.epoch_losses[2] < fit.summary.epoch_losses[0], "{:?}", fit.summary.epoch_losses);
}
