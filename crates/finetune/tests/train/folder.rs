//! A run on a folder, from tokens to an exported folder that loads again.

use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Loss;
use autovalidate_finetune::train::{Encoder, Progress, Recipe, TrainError, embed_exported, export};

use super::reference::{Reference, Setting, TINY, fixture, runtime};
use crate::support;

#[test]
fn a_run_lowers_the_loss_and_repeats_bit_for_bit() {
    let reference = Reference::load("tiny.safetensors");
    let recipe = Recipe {
        epochs: 12,
        batch_size: 4,
        learning_rate: 5e-3,
        // A smoothed loss has a floor above zero, and this loss must fall by half.
        label_smoothing: 0.0,
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
        let fit = setting.fit(&recipe, &mut observer).unwrap();
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
    let stopped = setting.fit(&recipe, &mut observer);
    assert!(matches!(stopped, Err(TrainError::Stopped { step: 3 })));
}

#[test]
fn an_exported_folder_loads_and_its_onnx_model_embeds_alike() {
    for name in TINY.into_iter().chain(["minilm"]) {
        let folder = if name == "minilm" { support::minilm() } else { fixture(name) };
        let reference = Reference::load(&format!("{name}.safetensors"));
        let setting = Setting::new(&folder, &reference.pairs);
        let recipe = Recipe { epochs: 2, batch_size: 4, learning_rate: 1e-3, ..Recipe::default() };
        let fit = setting.fit(&recipe, &mut |_: &Progress| true).unwrap();
        let target = tempfile::tempdir().unwrap();
        export(&setting.folder, &fit.parameters, fit.decay_factor, target.path()).unwrap();

        let exported = ModelFolder::open(target.path()).unwrap();
        assert_eq!((&exported.config, exported.head), (&setting.folder.config, setting.folder.head));
        let texts: Vec<&str> = reference.pairs.iter().map(|pair| pair.0.as_str()).collect();
        let ours = Encoder::embed_with(&runtime(), &exported, &texts).unwrap();
        let onnx = embed_exported(&runtime(), &exported, &texts).unwrap();
        let before = Encoder::embed_with(&runtime(), &setting.folder, &texts).unwrap();
        let apart = |a: &ndarray::Array2<f32>, b: &ndarray::Array2<f32>| {
            a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
        };
        assert!(apart(&ours, &onnx) < 1e-5, "{name}: the ONNX model is off by {}", apart(&ours, &onnx));
        assert!(apart(&ours, &before) > 1e-3, "{name}: training changed nothing");
    }
}
