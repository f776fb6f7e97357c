//! Label smoothing: PyTorch's loss and gradients, in every kind of graph, at once and in parts, and the floor its loss has.

use autovalidate::train::{Batch, Recipe};

use super::reference::{LOSSES, Reference, Setting, TINY, every_graph, fixture};

#[test]
fn loss_and_every_gradient_equal_pytorchs_cross_entropy() {
    for tiny in TINY {
        let reference = Reference::load(&format!("smoothing-{tiny}.safetensors"));
        let label_smoothing: f32 = reference.about["share"].parse().unwrap();
        let setting = Setting::new(&fixture(tiny), &reference.pairs);
        let (config, head) = (&setting.folder.config, setting.folder.head);
        let all: Vec<usize> = (0..setting.pairs.len()).collect();
        for (name, loss) in LOSSES {
            for (kind, runtime, batch_size) in every_graph() {
                for mini_batch in [usize::MAX, 3] {
                    let about = format!("{tiny}, {name}, {kind}, parts of {mini_batch}");
                    let recipe =
                        Recipe { loss, batch_size, mini_batch, label_smoothing, ..Recipe::default() };
                    let batch = Batch::of_recipe(&recipe, &setting.pairs, &all, config, head);
                    let (value, gradients) = setting.stepper_on(&runtime, &recipe).gradients(&batch).unwrap();
                    let truth = reference.get(&format!("{name}.loss"))[0];
                    assert!(
                        (f64::from(value) - truth).abs() < 1e-5 * truth,
                        "{about}: loss {value}, PyTorch {truth}"
                    );
                    setting.assert_gradients(&gradients, &reference, &format!("{name}.gradient."), &about);
                    let recipe = Recipe { batch_size: all.len(), ..recipe };
                    assert!(value > recipe.least_loss(), "{about}: {value} is below the floor");
                }
            }
        }
    }
}
