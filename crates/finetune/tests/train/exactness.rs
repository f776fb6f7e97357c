//! Loss, gradients, embeddings and optimizer steps equal PyTorch's.

use autovalidate_finetune::onnx::optimizer_model;
use autovalidate_finetune::train::{AdamW, Encoder, Gradient, Moments, Recipe, Schedule, adamw_update};
use ort::value::Tensor;
use rand::{RngExt, SeedableRng};

use super::reference::{
    LOSSES, Reference, Setting, TINY, every_graph, every_kind, fixture, floats, length, runtime,
};
use crate::support;

/// Returns the distance of `ours` from `truth`, relative to the length of `truth`.
fn relative(ours: &[f32], truth: &[f64]) -> f64 {
    assert_eq!(ours.len(), truth.len());
    let distance = length(ours.iter().zip(truth).map(|(a, b)| f64::from(*a) - b));
    distance / length(truth.iter().copied()).max(1e-30)
}

/// Returns true for a gradient that is zero by symmetry and thus rounding noise in every
/// implementation. An example is that of a key's bias, which shifts all scores of a row equally.
/// Such a gradient must be tiny beside the whole gradient, instead of relatively equal.
fn is_noise(truth: f64, whole: f64) -> bool {
    truth < 1e-6 * whole
}

/// Returns the number of tensors of a small encoder that have a gradient: all tensors of the weight
/// file but the pooler's.
fn trainable(folder: &std::path::Path) -> usize {
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    tensors.names().into_iter().filter(|name| !name.starts_with("pooler")).count()
}

#[test]
fn tiny_loss_and_every_gradient_equal_pytorch() {
    for (tiny, (kind, runtime, batch_size)) in
        TINY.into_iter().flat_map(|tiny| every_graph().into_iter().map(move |kind| (tiny, kind)))
    {
        let reference = Reference::load(&format!("{tiny}.safetensors"));
        for (name, loss) in LOSSES {
            let setting = Setting::new(&fixture(tiny), &reference.pairs);
            let recipe = Recipe { loss, batch_size, ..Recipe::default() };
            let (value, gradients) =
                setting.stepper_on(&runtime, &recipe).gradients(&setting.batch()).unwrap();
            let truth = reference.get(&format!("{name}.loss"))[0];
            let about = format!("{tiny}, {name}, {kind}");
            assert!(
                (f64::from(value) - truth).abs() < 1e-5 * truth,
                "{about}: loss {value}, PyTorch {truth}"
            );

            let whole = length(gradients.iter().flat_map(|(_, g)| g.iter().map(|x| f64::from(*x))));
            let mut compared = 0;
            for (parameter, gradient) in &gradients {
                for (source, gradient) in setting.by_source(parameter, gradient, 0.0) {
                    let truth = reference.get(&format!("{name}.gradient.{source}"));
                    compared += 1;
                    if is_noise(length(truth.iter().copied()), whole) {
                        let ours = length(gradient.iter().map(|x| f64::from(*x)));
                        assert!(
                            ours < 1e-6 * whole,
                            "{about}: {source} should vanish and has length {ours:e}"
                        );
                        continue;
                    }
                    let error = relative(&gradient, truth);
                    assert!(error < 1e-4, "{about}: gradient of {source} is off by {error:e}");
                }
            }
            assert_eq!(compared, trainable(&fixture(tiny)), "{about}: every trainable tensor was compared");
        }
    }
}

#[test]
fn minilm_loss_and_every_gradient_equal_pytorch() {
    let reference = Reference::load("minilm.safetensors");
    for ((name, loss), (kind, runtime, batch_size)) in
        LOSSES.into_iter().flat_map(|loss| every_graph().into_iter().map(move |kind| (loss, kind)))
    {
        let setting = Setting::new(&support::minilm(), &reference.pairs);
        let recipe = Recipe { loss, batch_size, ..Recipe::default() };
        let (value, gradients) = setting.stepper_on(&runtime, &recipe).gradients(&setting.batch()).unwrap();
        let truth = reference.get(&format!("{name}.loss"))[0];
        assert!(
            (f64::from(value) - truth).abs() < 1e-4 * truth,
            "{name}, {kind}: loss {value}, PyTorch {truth}"
        );

        let whole = length(gradients.iter().flat_map(|(_, g)| g.iter().map(|x| f64::from(*x))));
        let mut compared = 0;
        for (parameter, gradient) in &gradients {
            for (source, gradient) in setting.by_source(parameter, gradient, 0.0) {
                compared += 1;
                let norm = reference.get(&format!("{name}.norm.{source}"))[0];
                let ours = length(gradient.iter().map(|x| f64::from(*x)));
                if is_noise(norm, whole) {
                    assert!(ours < 1e-6 * whole, "{name}: {source} should vanish and has length {ours:e}");
                    continue;
                }
                assert!(
                    (ours - norm).abs() < 1e-4 * norm,
                    "{name}: {source} has length {ours}, PyTorch {norm}"
                );
                let every = (gradient.len() / 61).max(1);
                let sampled: Vec<f32> = gradient.iter().step_by(every).take(61).copied().collect();
                let truth = reference.get(&format!("{name}.sampled.{source}"));
                let scale = norm / (gradient.len() as f64).sqrt();
                for (ours, truth) in sampled.iter().zip(truth) {
                    let error = (f64::from(*ours) - truth).abs();
                    assert!(
                        error < 1e-4 * truth.abs().max(scale),
                        "{name}: an element of {source}: {ours}, {truth}"
                    );
                }
                // The product with a fixed vector depends on every element, so an error of 1e-4
                // anywhere would show.
                for (step, truth) in
                    [0.7, 1.3, 2.9].iter().zip(reference.get(&format!("{name}.projections.{source}")))
                {
                    let product: f64 = gradient
                        .iter()
                        .enumerate()
                        .map(|(i, g)| f64::from(*g) * (i as f64 * step).cos())
                        .sum();
                    assert!(
                        (product - truth).abs() < 1e-4 * norm,
                        "{name}: {source}: {product} against {truth}"
                    );
                }
            }
        }
        assert_eq!(compared, 5 + 6 * 16, "every trainable tensor was compared");
    }
}

#[test]
fn embeddings_equal_sentence_transformers() {
    for name in TINY.into_iter().chain(["minilm"]) {
        let folder = if name == "minilm" { support::minilm() } else { fixture(name) };
        let reference = Reference::load(&format!("{name}.safetensors"));
        let texts: Vec<&str> = reference
            .pairs
            .iter()
            .flat_map(|(typo, correction)| [typo.as_str(), correction.as_str()])
            .collect();
        let setting = Setting::new(&folder, &reference.pairs);
        let truth = reference.get("embeddings");
        let texts = &texts[..truth.len() / setting.folder.config.hidden];
        for (kind, runtime) in every_kind() {
            let embeddings = Encoder::embed_with(&runtime, &setting.folder, texts).unwrap();
            for (ours, truth) in embeddings.rows().into_iter().zip(truth.chunks_exact(embeddings.ncols())) {
                // Embeddings have unit length when the folder has a `Normalize` module.
                let bound = 2e-6 * length(truth.iter().copied());
                for (ours, truth) in ours.iter().zip(truth) {
                    assert!(
                        (f64::from(*ours) - truth).abs() < bound,
                        "{name}, {kind}: {ours} against {truth}"
                    );
                }
            }
        }
    }
}

/// Over eight steps, the change of every tensor is at most twice as far from double-precision
/// PyTorch as the change in single-precision PyTorch is. Weight decay of rows that no text uses is
/// included.
#[test]
fn training_moves_every_tensor_as_pytorch_does() {
    for (tiny, (kind, runtime, batch_size)) in
        TINY.into_iter().flat_map(|tiny| every_graph().into_iter().map(move |kind| (tiny, kind)))
    {
        let reference = Reference::load(&format!("{tiny}.safetensors"));
        let setting = Setting::new(&fixture(tiny), &reference.pairs);
        let number = |key: &str| reference.about[key].parse::<f32>().unwrap();
        let steps: usize = reference.about["steps"].parse().unwrap();
        let recipe = Recipe { weight_decay: number("decay"), batch_size, ..Recipe::default() };
        let schedule = Schedule::new(number("rate"), steps, number("ratio"));
        let mut stepper = setting.stepper_on(&runtime, &recipe);
        let batch = setting.batch();
        for (step, truth) in reference.get("training.losses").iter().enumerate() {
            let loss = stepper.step(&batch, schedule.rate(step)).unwrap().loss;
            let error = (f64::from(loss) - truth).abs();
            assert!(
                error < 1e-5 * truth.max(0.1),
                "{tiny}, {kind}, step {step}: loss {loss}, PyTorch {truth}"
            );
        }
        let (trained, moments) = stepper.finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        trained.save(&setting.weights, folder.path(), moments.decay_factor).unwrap();
        compare_trained(&format!("{tiny}, {kind}"), &fixture(tiny), &reference, folder.path());
    }
}

fn compare_trained(tiny: &str, start: &std::path::Path, reference: &Reference, trained: &std::path::Path) {
    let (after, before) = (floats(trained), floats(start));
    let whole = length(
        before
            .keys()
            .filter(|name| !name.starts_with("pooler"))
            .flat_map(|name| reference.get(&format!("mnrl-symmetric.gradient.{name}")).iter().copied()),
    );
    for (name, start) in &before {
        let ours = &after[name];
        if name.starts_with("pooler") {
            assert_eq!(ours, start, "{tiny}: {name} has no part in the loss");
            continue;
        }
        assert_ne!(ours, start, "{tiny}: {name} didn't change");
        let gradient = reference.get(&format!("mnrl-symmetric.gradient.{name}"));
        if is_noise(length(gradient.iter().copied()), whole) {
            // The direction of a vanishing gradient is noise, and AdamW turns it into a full step.
            continue;
        }
        let single = reference.get(&format!("trained.single.{name}"));
        let double = reference.get(&format!("trained.double.{name}"));
        let change = length(double.iter().zip(start).map(|(a, b)| a - b));
        let ours_off = length(ours.iter().zip(double).map(|(a, b)| a - b));
        let theirs_off = length(single.iter().zip(double).map(|(a, b)| a - b));
        // Below this bound the difference is only the last bit of single-precision weights.
        let rounding = 2e-7 * length(start.iter().copied());
        assert!(
            ours_off <= (2.0 * theirs_off).max(rounding),
            "{tiny}: {name}: off by {ours_off:e}, PyTorch single by {theirs_off:e}, change {change:e}"
        );
    }
}

#[test]
fn the_optimizer_graph_equals_the_fused_pass() {
    let settings = AdamW::with_decay(0.01);
    let mut session =
        runtime().session(&optimizer_model(settings.beta_1, settings.beta_2, settings.epsilon)).unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let n = 1_000;
    let mut values: Vec<f32> = (0..n).map(|_| random.random_range(-1.0..1.0)).collect();
    let mut moments = Moments::zero(n);
    let (mut graph_values, mut graph_first, mut graph_second) = (values.clone(), vec![0.0; n], vec![0.0; n]);
    for step in 1..=20 {
        let gradient: Vec<f32> = (0..n).map(|_| random.random_range(-1.0_f32..1.0).powi(9)).collect();
        let (rate, clip) = (1e-2_f32, 0.7_f32);
        adamw_update(settings, &mut values, &[Gradient::Dense(&gradient)], &mut moments, n, rate, clip);

        let vector = |data: &[f32]| Tensor::from_array(([n], data.to_vec())).unwrap();
        let scalar = |number: f32| Tensor::from_array(((), vec![number])).unwrap();
        let outputs = session
            .run(ort::inputs! {
                "parameters" => vector(&graph_values),
                "gradients" => vector(&gradient),
                "first_moments" => vector(&graph_first),
                "second_moments" => vector(&graph_second),
                "gradient_scale" => scalar(clip),
                "learning_rate" => scalar(rate),
                "decay" => scalar(rate * settings.weight_decay),
                "correction_1" => scalar(1.0 - settings.beta_1.powi(step)),
                "correction_2" => scalar(1.0 - settings.beta_2.powi(step)),
            })
            .unwrap();
        let take = |name: &str| outputs[name].try_extract_tensor::<f32>().unwrap().1.to_vec();
        (graph_values, graph_first, graph_second) =
            (take("updated_parameters"), take("updated_first_moments"), take("updated_second_moments"));
        for (ours, graph) in values.iter().zip(&graph_values) {
            assert!((ours - graph).abs() < 1e-5, "step {step}: {ours} against {graph}");
        }
    }
    assert!(values.iter().zip(&moments.first).all(|(v, m)| v.is_finite() && m.is_finite()));
}
