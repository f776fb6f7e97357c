//! A run on a folder, from tokens to a folder that loads again.

use autovalidate::onnx::Loss;
use autovalidate::train::{Progress, Recipe, TrainError, fit};

use super::reference::{Reference, Setting, fixture, runtime};

#[test]
fn a_run_lowers_the_loss_and_repeats_bit_for_bit() {
    let reference = Reference::load("tiny.safetensors");
    let recipe = Recipe {
        epochs: 12,
        batch_size: 4,
        learning_rate: 5e-3,
        loss: Loss::MnrlSymmetric,
        ..Recipe::default()
    };
    let run = || {
        let setting = Setting::new(&fixture("tiny"), &reference.pairs);
        let mut seen = Vec::new();
        let mut observer = |progress: &Progress| {
            seen.push(progress.step);
            true
        };
        let fit = fit(
            &runtime(),
            &setting.folder.config,
            setting.folder.head,
            &recipe,
            setting.parameters,
            &setting.pairs,
            &mut observer,
        )
        .unwrap();
        assert_eq!(seen, (1..=fit.summary.steps).collect::<Vec<_>>());
        fit
    };
    let (first, second) = (run(), run());
    let losses = &first.summary.epoch_losses;
    assert!(losses[losses.len() - 1] < 0.5 * losses[0], "{losses:?}");
    assert!(
        first
            .parameters
            .values()
            .iter()
            .zip(second.parameters.values())
            .all(|(a, b)| a.to_bits() == b.to_bits()),
        "the same seed gave other weights"
    );
}

#[test]
fn an_observer_stops_a_run() {
    let reference = Reference::load("tiny.safetensors");
    let setting = Setting::new(&fixture("tiny"), &reference.pairs);
    let mut observer = |progress: &Progress| progress.step < 3;
    let recipe = Recipe { batch_size: 4, ..Recipe::default() };
    let stopped = fit(
        &runtime(),
        &setting.folder.config,
        setting.folder.head,
        &recipe,
        setting.parameters,
        &setting.pairs,
        &mut observer,
    );
    assert!(matches!(stopped, Err(TrainError::Stopped { step: 3 })));
}
