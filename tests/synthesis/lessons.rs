//! What training is given, epoch by epoch.

use std::collections::BTreeSet;

use autovalidate::correction::Templates;
use autovalidate::evaluate::Catalogue;
use autovalidate::model::ModelFolder;
use autovalidate::synthesis::{Lessons, SlipRates, SynthesisSettings};
use autovalidate::train::{PairSource, PairTexts, TrainError, Vocabulary};

use super::synthesiser;
use crate::support;

const EPOCHS: usize = 3;

fn lessons() -> Lessons {
    let names = [("brand", "Audi"), ("brand", "Citroën"), ("brand", "Mercedes-Benz"), ("model", "Golf")];
    let settings = SynthesisSettings { variants: 4, ..SynthesisSettings::default() };
    let synthesiser = synthesiser(Catalogue::new(names), SlipRates::default(), settings);
    let real = PairTexts { row: 7, anchor: "car brand: oudi".into(), positive: "car brand: Audi".into() };
    Lessons::new(vec![real], synthesiser, Templates::default(), 1)
}

#[test]
fn each_epoch_has_every_real_pair_and_fresh_synthetic_ones() {
    let lessons = lessons();
    let synthetic = |epoch: usize| -> BTreeSet<String> {
        let pairs = lessons.epoch(epoch);
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
fn the_vocabulary_is_known_before_the_start() {
    let lessons = lessons();
    let tokenizer = ModelFolder::open(&support::minilm()).unwrap().tokenizer().unwrap();
    let ids = lessons.token_ids(&tokenizer, EPOCHS).unwrap();
    let vocabulary = Vocabulary::of([&ids]);
    let source = lessons.tokenised(&tokenizer, &vocabulary);
    for epoch in 0..EPOCHS {
        assert_eq!(source.epoch(epoch).unwrap().len(), 17);
    }
    let narrow = Vocabulary::of([&vec![101, 102]]);
    assert!(matches!(lessons.tokenised(&tokenizer, &narrow).epoch(0), Err(TrainError::ForeignToken)));
}
