//! Tests of the entry point: from a folder to a fine-tuned folder.

use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::train::{Progress, Recipe, TrainError, embed_exported};
use autovalidate_finetune::{Error, fine_tune};

use crate::support;
use crate::train::{Reference, fixture, runtime};

#[test]
fn pairs_come_closer_and_the_folder_holds_the_model() {
    let pairs = Reference::load("tiny.safetensors").pairs;
    let base = ModelFolder::open(&fixture("tiny")).unwrap();
    let recipe = Recipe { epochs: 20, batch_size: 4, learning_rate: 5e-3, ..Recipe::default() };
    let tuned = fine_tune(&runtime(), &base, &pairs, &recipe, &mut |_: &Progress| true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    tuned.save(folder.path()).unwrap();

    let tuned_folder = ModelFolder::open(folder.path()).unwrap();
    let (anchors, positives): (Vec<&str>, Vec<&str>) =
        pairs.iter().map(|(anchor, positive)| (anchor.as_str(), positive.as_str())).unzip();
    let one = embed_exported(&runtime(), &tuned_folder, &anchors).unwrap();
    let other = embed_exported(&runtime(), &tuned_folder, &positives).unwrap();
    let scores = one.dot(&other.t());
    for (row, scores) in scores.rows().into_iter().enumerate() {
        let best = scores.iter().copied().fold(f32::MIN, f32::max);
        // Equal positives have equal scores.
        assert!(scores[row] >= best - 1e-5, "anchor {row} has another positive nearest");
    }
}

#[test]
fn one_pair_is_too_few_and_says_so() {
    let base = ModelFolder::open(&fixture("tiny")).unwrap();
    let pairs = [("toyta", "toyota")];
    let failed = fine_tune(&runtime(), &base, &pairs, &Recipe::default(), &mut |_: &Progress| true);
    assert!(matches!(failed.err(), Some(Error::Train(TrainError::TooFewPairs { found: 1, needed: 2 }))));
}

#[test]
fn the_real_model_learns_a_pair_of_names() {
    let base = ModelFolder::open(&support::minilm()).unwrap();
    let pairs = [("car brand: toyta", "car brand: Toyota"), ("car brand: hunday", "car brand: Hyundai")];
    let recipe =
        Recipe { epochs: 6, batch_size: 2, learning_rate: 1e-4, label_smoothing: 0.0, ..Recipe::default() };
    let tuned = fine_tune(&runtime(), &base, &pairs, &recipe, &mut |_: &Progress| true).unwrap();
    let losses = &tuned.summary.losses;
    assert_eq!(losses.len(), 6);
    assert!(losses[5] < losses[0], "{losses:?}");
}
