//! Training in which pairs and reversed pairs are separate examples.

use autovalidate_finetune::onnx::Loss;
use autovalidate_finetune::train::{Batch, Progress, Recipe, batches};

use super::reference::{Reference, Setting, fixture};

fn setting() -> Setting {
    Setting::new(&fixture("tiny"), &Reference::load("tiny.safetensors").pairs)
}

#[test]
fn a_pair_and_its_reverse_are_never_negatives_of_each_other() {
    let setting = setting();
    let (both, count) = (setting.pairs.with_reversed(), setting.pairs.len());
    assert_eq!(both.len(), 2 * count);
    let recipe = Recipe { loss: Loss::Mnrl, ..Recipe::default() };
    let mut stepper = setting.stepper(&recipe);
    let mut loss = |indices: &[usize]| {
        let batch = Batch::new(&both, indices, &setting.folder.config, setting.folder.head);
        stepper.gradients(&batch).unwrap().0
    };
    assert_eq!(loss(&[0, count]), 0.0, "alone, neither has a negative");
    assert!(loss(&[0, count + 1]) > 0.0, "another pair's reverse is a negative");
}

#[test]
fn batches_keep_a_pair_and_its_reverse_apart() {
    let setting = setting();
    let (both, count) = (setting.pairs.with_reversed(), setting.pairs.len());
    for seed in 0..50 {
        let batches = batches(&both, 4, false, seed, 0);
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 2 * count);
        // Only a last, single example may join a batch with its reverse. There the score mask
        // separates the two.
        for batch in &batches[..batches.len() - 1] {
            assert!(batch.iter().all(|pair| !batch.contains(&(pair + count))), "seed {seed}: {batch:?}");
        }
    }
}

#[test]
fn a_run_sees_every_pair_both_ways() {
    let recipe = |reversed| Recipe {
        epochs: 6,
        batch_size: 4,
        learning_rate: 5e-3,
        // A smoothed loss has a floor above zero, and this loss must fall by half.
        label_smoothing: 0.0,
        loss: Loss::Mnrl,
        reversed,
        ..Recipe::default()
    };
    let run = |recipe: &Recipe| setting().fit(recipe, &mut |_: &Progress| true).unwrap().summary;
    let (once, twice) = (run(&recipe(false)), run(&recipe(true)));
    assert_eq!(twice.pairs, 2 * once.pairs);
    // Keeping a pair and its reverse apart may make a batch smaller.
    assert!(twice.steps >= 2 * once.steps, "{} and {} steps", twice.steps, once.steps);
    assert!(twice.epoch_losses[5] < 0.5 * twice.epoch_losses[0], "{:?}", twice.epoch_losses);
}
