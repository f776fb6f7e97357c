//! Fifty steps: weights and losses stay as close to double-precision PyTorch as single-precision
//! PyTorch does.

use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{Batch, ParameterBuffer, Recipe, Schedule};

use super::reference::{LOSSES, Reference, Setting, every_graph, fixture, floats};
use crate::support;

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// Returns every tensor of the weight file as a run would save it: rows that no text uses are
/// decayed.
fn tensors(setting: &Setting, parameters: &ParameterBuffer, decay_factor: f64) -> Vec<(String, Vec<f64>)> {
    let folder = tempfile::tempdir().unwrap();
    parameters.save(&setting.weights, folder.path(), decay_factor).unwrap();
    let mut saved = floats(folder.path());
    let sources = parameters.parameters().iter().flat_map(|parameter| &parameter.sources);
    sources.map(|source| (source.clone(), saved.remove(source).unwrap())).collect()
}

fn fifty_steps(
    (kind, runtime, batch_size): (&str, &Runtime, usize),
    reference: &Reference,
    folder: &std::path::Path,
    tensors_of_model: usize,
) {
    let batches: Vec<Vec<usize>> = serde_json::from_str(&reference.about["batches"]).unwrap();
    let number = |key: &str| reference.about[key].parse::<f32>().unwrap();
    let sampled: usize = reference.about["sampled"].parse().unwrap();
    for (name, loss) in LOSSES {
        let setting = Setting::new(folder, &reference.pairs);
        let recipe = Recipe { loss, weight_decay: number("decay"), batch_size, ..Recipe::default() };
        let schedule = Schedule::new(number("rate"), batches.len(), number("ratio"));
        let (config, head) = (&setting.folder.config, setting.folder.head);
        let start = tensors(&setting, &setting.parameters, 1.0);
        let mut stepper = setting.stepper_on(runtime, &recipe);
        let curve = reference.get(&format!("{name}.double.losses"));
        // Scores of up to 20 have a last bit of 2e-6, so a loss far below 1 can't be exact to 1e-5
        // of itself.
        let single = reference.get(&format!("{name}.single.losses"));
        let rounding = curve.iter().zip(single).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        for (step, (indices, truth)) in batches.iter().zip(curve).enumerate() {
            let batch = Batch::new(&setting.pairs, indices, config, head);
            let loss = f64::from(stepper.step(&batch, schedule.rate(step)).unwrap().loss);
            let bound = (1e-5 * truth).max(2.0 * rounding);
            assert!(
                (loss - truth).abs() < bound,
                "{name}, {kind}: step {step}: loss {loss}, PyTorch {truth}"
            );
        }
        let (trained, moments) = stepper.finish().unwrap();
        let trained = tensors(&setting, &trained, moments.decay_factor);
        assert_eq!(trained.len(), tensors_of_model, "every trainable tensor is compared");
        for ((tensor, ours), (_, start)) in trained.iter().zip(&start) {
            let truth = reference.get(&format!("{name}.double.{tensor}"));
            let single = reference.get(&format!("{name}.single.{tensor}"));
            let every = if truth.len() == ours.len() { 1 } else { (ours.len() / sampled).max(1) };
            let pick = |values: &[f64]| -> Vec<f64> {
                values.iter().step_by(every).take(truth.len()).copied().collect()
            };
            let (ours, start) = (pick(ours), pick(start));
            let change = distance(truth, &start);
            let (ours_off, theirs_off) = (distance(&ours, truth), distance(single, truth));
            assert!(ours != start, "{name}, {kind}: {tensor} didn't change");
            // The gradient of a key's bias is only rounding noise, which AdamW turns into full
            // steps in any direction.
            assert!(
                ours_off <= 2.0 * theirs_off || tensor.contains("key.bias"),
                "{name}, {kind}: {tensor}: off by {ours_off:e}, PyTorch single by {theirs_off:e}, change {change:e}"
            );
        }
    }
}

#[test]
fn fifty_steps_of_a_tiny_encoder_are_pytorchs() {
    for (kind, runtime, batch_size) in every_graph() {
        fifty_steps(
            (kind, &runtime, batch_size),
            &Reference::load("steps-tiny.safetensors"),
            &fixture("tiny"),
            5 + 2 * 16,
        );
    }
}

#[test]
fn fifty_steps_of_minilm_are_pytorchs() {
    for (kind, runtime, batch_size) in every_graph() {
        // Standard operators take longest, and the test with a small encoder has covered them.
        if kind == "resident" || kind == "standard" {
            continue;
        }
        fifty_steps(
            (kind, &runtime, batch_size),
            &Reference::load("steps-minilm.safetensors"),
            &support::minilm(),
            5 + 6 * 16,
        );
    }
}
