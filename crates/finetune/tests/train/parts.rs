//! A batch encoded in parts has the same gradients as one encoded at once. A batch without a finite
//! loss changes nothing.

use autovalidate_finetune::onnx::{Loss, Runtime};
use autovalidate_finetune::train::{Batch, Progress, Recipe, Stepper, TrainError};

use super::reference::{LOSSES, Reference, Setting, TINY, every_kind, fixture};

#[test]
fn gradients_in_parts_equal_those_at_once() {
    let mut ways = std::collections::HashSet::new();
    for tiny in TINY {
        let mut texts = Reference::load(&format!("{tiny}.safetensors")).pairs;
        // A correction of two pairs, in two parts: both parts contribute to the gradient of its
        // embedding.
        texts.push(("car brand: totoya".to_owned(), texts[0].1.clone()));
        let setting = Setting::new(&fixture(tiny), &texts);
        ways.insert(format!("{:?}", setting.folder.head.pooling));
        for (name, loss) in LOSSES {
            for (kind, runtime) in every_kind() {
                in_parts_as_at_once(&setting, &runtime, loss, &format!("{tiny}, {name}, {kind}"));
            }
        }
    }
    assert_eq!(ways.len(), 3, "each way of pooling is among the small encoders: {ways:?}");
}

fn in_parts_as_at_once(setting: &Setting, runtime: &Runtime, loss: Loss, about: &str) {
    let (config, head) = (&setting.folder.config, setting.folder.head);
    let mut stepper = setting.stepper_on(runtime, &Recipe { loss, ..Recipe::default() });
    let all: Vec<usize> = (0..setting.pairs.len()).collect();
    let (truth, at_once) = stepper.gradients(&Batch::new(&setting.pairs, &all, config, head)).unwrap();
    let whole: f32 = at_once.iter().flat_map(|(_, g)| g).map(|g| g * g).sum::<f32>().sqrt();
    for mini_batch in [1, 3, 8] {
        let batch = Batch::in_parts(&setting.pairs, &all, config, head, mini_batch);
        // Twice: the sums of an earlier batch must be cleared.
        stepper.gradients(&batch).unwrap();
        let (loss, in_parts) = stepper.gradients(&batch).unwrap();
        assert!((loss - truth).abs() < 1e-5 * truth, "{about}: loss {loss} in parts, {truth} at once");
        assert_eq!(in_parts.len(), at_once.len());
        for ((parameter, ours), (_, truth)) in in_parts.iter().zip(&at_once) {
            let length = truth.iter().map(|g| g * g).sum::<f32>().sqrt();
            let off = ours.iter().zip(truth).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
            assert!(
                off <= 1e-5 * length + 1e-6 * whole,
                "{about}, parts of {mini_batch}: {parameter} is off by {off:e} of {length:e}"
            );
        }
    }
}

#[test]
fn a_run_chooses_parts_by_itself_and_learns_the_same() {
    let reference = Reference::load("tiny.safetensors");
    let run = |mini_batch| {
        let setting = Setting::new(&fixture("tiny"), &reference.pairs);
        let recipe =
            Recipe { epochs: 4, batch_size: 8, mini_batch, learning_rate: 1e-4, ..Recipe::default() };
        setting.fit(&recipe, &mut |_: &Progress| true).unwrap()
    };
    let (parts, at_once) = (run(2), run(8));
    assert_eq!(parts.summary.steps, at_once.summary.steps);
    for (ours, truth) in parts.summary.losses.iter().zip(&at_once.summary.losses) {
        assert!((ours - truth).abs() < 1e-4 * truth, "{ours} in parts, {truth} at once");
    }
}

#[test]
fn a_loss_that_is_no_number_names_its_rows_and_changes_nothing() {
    let reference = Reference::load("tiny.safetensors");
    // At once and in parts.
    let ways = every_kind().into_iter().flat_map(|kind| [8, 2].map(|mini_batch| (kind.clone(), mini_batch)));
    for ((kind, runtime), mini_batch) in ways {
        let setting = Setting::new(&fixture("tiny"), &reference.pairs);
        let (config, head) = (&setting.folder.config, setting.folder.head);
        let mut parameters = setting.parameters.clone();
        let last = parameters.values().len() - 1;
        parameters.values_mut()[last] = f32::NAN;
        let before: Vec<u32> = parameters.values().iter().map(|value| value.to_bits()).collect();
        let mut stepper = Stepper::new(&runtime, config, head, &Recipe::default(), parameters).unwrap();
        let batch = Batch::in_parts(&setting.pairs, &[5, 1, 3], config, head, mini_batch);
        match stepper.step(&batch, 1e-3) {
            Err(TrainError::NotFinite { step: 0, rows, learning_rate, .. }) => {
                assert_eq!((rows, learning_rate), (vec![5, 1, 3], 1e-3));
            }
            other => panic!("{kind}: {other:?}"),
        }
        let after: Vec<u32> =
            stepper.parameters().unwrap().values().iter().map(|value| value.to_bits()).collect();
        assert_eq!(after, before);
        assert_eq!(stepper.moments().unwrap().step, 0);
    }
}
