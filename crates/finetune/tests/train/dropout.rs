//! Training with dropout: PyTorch's numbers under the same masks, and the same bits however a run
//! is interrupted.

use autovalidate_finetune::model::DropoutRates;
use autovalidate_finetune::onnx::dropout_places;
use autovalidate_finetune::train::{
    Batch, Checkpoints, Fit, Interval, Observer, Progress, Recipe, Resumable, TrainError,
};

use super::reference::{Reference, Setting, TINY, fixture, length};

/// Returns a small encoder with the fixture's dropout rates, and a recipe with dropout.
fn dropping(tiny: &str, reference: &Reference) -> (Setting, Recipe) {
    let mut setting = Setting::new(&fixture(tiny), &reference.pairs);
    let rate = |name: &str| reference.about[name].parse().unwrap();
    setting.folder.config.dropout = DropoutRates { hidden: rate("hidden"), attention: rate("attention") };
    let seed = reference.about["seed"].parse().unwrap();
    (setting, Recipe { dropout: true, seed, ..Recipe::default() })
}

#[test]
fn loss_and_every_gradient_equal_pytorch_under_the_same_masks() {
    for tiny in TINY {
        let reference = Reference::load(&format!("dropout-{tiny}.safetensors"));
        let (setting, recipe) = dropping(tiny, &reference);
        let config = &setting.folder.config;
        let places = dropout_places(config, config.dropout).len() as f64;
        assert_eq!(places, reference.get("places")[0], "{tiny}: places that drop");
        let (loss, gradients) = setting.stepper(&recipe).gradients(&setting.batch()).unwrap();
        let truth = reference.get("loss")[0];
        assert!((f64::from(loss) - truth).abs() < 1e-5 * truth, "{tiny}: loss {loss}, PyTorch {truth}");
        let without = setting.stepper(&Recipe::default()).gradients(&setting.batch()).unwrap().0;
        assert!((without - loss).abs() > 1e-2, "{tiny}: dropout does nothing");

        setting.assert_gradients(&gradients, &reference, "gradient.", tiny);
    }
}

/// The passes over a part must use the same masks. Only then is the gradient that of the loss.
#[test]
fn gradients_in_parts_are_what_small_steps_say() {
    let reference = Reference::load("dropout-tiny.safetensors");
    let (mut setting, recipe) = dropping("tiny", &reference);
    let all: Vec<usize> = (0..setting.pairs.len()).collect();
    let (config, head) = (setting.folder.config.clone(), setting.folder.head);
    let batch = Batch::in_parts(&setting.pairs, &all, &config, head, 2);
    let (_, gradients) = setting.stepper(&recipe).gradients(&batch).unwrap();
    let start = setting.parameters.clone();
    for (place, (name, gradient)) in gradients.iter().enumerate() {
        let size = length(gradient.iter().map(|x| f64::from(*x)));
        // Each parameter needs a new session, so the test takes only some of them.
        if size < 1e-3 || place % 6 != 0 {
            continue;
        }
        let first = start.ranges()[place].start;
        let mut at = |step: f64| {
            setting.parameters = start.clone();
            let values = &mut setting.parameters.values_mut()[first..first + gradient.len()];
            for (value, gradient) in values.iter_mut().zip(gradient) {
                *value += (step * f64::from(*gradient) / size) as f32;
            }
            f64::from(setting.stepper(&recipe).gradients(&batch).unwrap().0)
        };
        let [wide, narrow] = [8e-3, 4e-3].map(|step| (at(step) - at(-step)) / (2.0 * step));
        // The slope of the loss along its gradient is the gradient's length.
        let slope = (4.0 * narrow - wide) / 3.0;
        assert!((slope - size).abs() < 1e-3 + 1e-2 * size, "{name}: {size} against {slope}");
    }
}

fn run(recipe: &Recipe, observer: &mut dyn Observer) -> Result<Fit, TrainError> {
    let reference = Reference::load("dropout-tiny.safetensors");
    let (setting, _) = dropping("tiny", &reference);
    setting.fit(recipe, observer)
}

fn bits(fit: &Fit) -> Vec<u32> {
    let Fit { parameters, moments, summary, .. } = fit;
    let all = [parameters.values(), &moments.first, &moments.second, &summary.losses].concat();
    all.into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_run_that_drops_ends_with_the_same_bits_however_it_is_cut() {
    for mini_batch in [8, 2] {
        let recipe =
            Recipe { epochs: 4, batch_size: 4, mini_batch, dropout: true, seed: 5, ..Recipe::default() };
        let truth = run(&recipe, &mut |_: &Progress| true).unwrap();
        assert_eq!(bits(&run(&recipe, &mut |_: &Progress| true).unwrap()), bits(&truth));
        let folder = tempfile::tempdir().unwrap();
        let fit = loop {
            let mut observer = |progress: &Progress| !progress.step.is_multiple_of(3);
            let checkpoints =
                Checkpoints { folder: folder.path().to_owned(), interval: Interval::Steps(u64::MAX) };
            match run(&recipe, &mut Resumable { observer: &mut observer, checkpoints }) {
                Err(TrainError::Stopped { .. }) => {}
                other => break other.unwrap(),
            }
        };
        assert_eq!(bits(&fit), bits(&truth), "parts of {mini_batch}");
        let losses = |recipe: &Recipe| run(recipe, &mut |_: &Progress| true).unwrap().summary.losses;
        assert_ne!(losses(&Recipe { dropout: false, ..recipe.clone() }), truth.summary.losses);
    }
}
