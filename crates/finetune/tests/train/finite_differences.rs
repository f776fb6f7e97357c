//! A second check of every gradient, from the loss alone: `(f(x + h) - f(x - h)) / 2h`.

use std::collections::BTreeMap;

use autovalidate_finetune::onnx::Loss;
use autovalidate_finetune::train::Recipe;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

use super::reference::{Reference, Setting, TINY, fixture};

/// Step size: large enough that the last bits of the loss don't matter, small enough that its
/// curvature doesn't matter.
const STEP: f32 = 4e-3;

fn loss(setting: &Setting, recipe: &Recipe) -> f64 {
    f64::from(setting.stepper(recipe).gradients(&setting.batch().smoothed(recipe.label_smoothing)).unwrap().0)
}

proptest! {
    // The seed is fixed: with float tolerances, a random seed would hit a kink of a maximum some
    // day.
    #![proptest_config(ProptestConfig {
        cases: 40, rng_seed: RngSeed::Fixed(17), max_shrink_iters: 0, failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn gradients_are_what_small_steps_say(
        tiny in prop::sample::select(TINY.to_vec()),
        loss_form in prop::sample::select(vec![Loss::Mnrl, Loss::MnrlSymmetric]),
        label_smoothing in prop::sample::select(vec![0.0, 0.3]),
        parameter: Index,
        elements in prop::collection::btree_map(any::<u16>(), any::<bool>(), 1..6),
    ) {
        let reference = Reference::load(&format!("{tiny}.safetensors"));
        let recipe = Recipe { loss: loss_form, label_smoothing, ..Recipe::default() };
        let mut setting = Setting::new(&fixture(tiny), &reference.pairs);
        let (value, gradients) = setting.stepper(&recipe).gradients(&setting.batch().smoothed(label_smoothing)).unwrap();
        let place = parameter.index(gradients.len());
        let (name, gradient) = &gradients[place];
        let range = setting.parameters.ranges()[place].clone();

        // The direction moves some elements, each by a step up or down.
        let direction: BTreeMap<usize, f32> = elements
            .into_iter()
            .map(|(element, up)| (usize::from(element) % gradient.len(), if up { 1.0 } else { -1.0 }))
            .collect();
        let slope: f64 =
            direction.iter().map(|(element, sign)| f64::from(gradient[*element]) * f64::from(*sign)).sum();
        let start = setting.parameters.clone();
        let mut at = |step: f32| {
            setting.parameters = start.clone();
            for (element, sign) in &direction {
                setting.parameters.values_mut()[range.start + element] += sign * step;
            }
            loss(&setting, &recipe)
        };
        let pairs = [STEP, STEP / 2.0].map(|step| (f64::from(step), at(step), at(-step)));
        let [wide, narrow] = pairs.map(|(step, up, down)| (up - down) / (2.0 * step));
        // Combining both differences cancels the error term in the square of the step.
        let found = (4.0 * narrow - wide) / 3.0;
        let tolerance = 1e-3 + 5e-3 * found.abs();
        // Max pooling has kinks, where another token becomes the maximum. There is no kink between
        // these steps if the loss is curved like a smooth function: the differences agree, and the
        // curvature term is proportional to the square of the step.
        let [bend, less_bend] = pairs.map(|(_, up, down)| up + down - 2.0 * f64::from(value));
        let smooth = (wide - narrow).abs() < 4.0 * tolerance
            && (bend - 4.0 * less_bend).abs() / (2.0 * f64::from(STEP)) < tolerance;
        prop_assume!(smooth);
        prop_assert!((found - slope).abs() < tolerance, "{tiny}, {name}: {slope} against {found}");
    }
}
