//! Label smoothing: PyTorch's loss and gradients, in every kind of graph, at once and in parts.

use autovalidate_finetune::train::Recipe;

use super::reference::{Reference, Setting, TINY, fixture};

#[test]
fn loss_and_every_gradient_equal_pytorchs_cross_entropy() {
    for tiny in TINY {
        let reference = Reference::load(&format!("smoothing-{tiny}.safetensors"));
        let label_smoothing: f32 = reference.about["share"].parse().unwrap();
        let setting = Setting::new(&fixture(tiny), &reference.pairs);
        setting.assert_equal_in_every_graph(&reference, tiny, |loss| Recipe {
            loss,
            label_smoothing,
            ..Recipe::default()
        });
    }
}
