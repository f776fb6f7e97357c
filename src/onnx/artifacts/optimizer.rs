//! The optimiser graph.

use super::super::graph::{Dimension, Element, Graph};

/// One AdamW step over a range of parameters with one weight decay, all `[n]`, in PyTorch's order of operations
/// (`torch.optim.AdamW`): decay, moments, bias correction, update. Scalars: `gradient_scale` (the clipping
/// factor), `learning_rate`, `decay` (`learning_rate * weight_decay`), `correction_1 = 1 - beta_1^t`,
/// `correction_2 = 1 - beta_2^t`.
pub fn optimizer_model(beta_1: f32, beta_2: f32, epsilon: f32) -> Vec<u8> {
    let mut graph = Graph::new();
    let n = [Dimension::from("elements")];
    let [parameter, gradient, first, second] = ["parameters", "gradients", "first_moments", "second_moments"]
        .map(|name| graph.input(name, Element::Float, &n));
    let [gradient_scale, learning_rate, decay, correction_1, correction_2] =
        ["gradient_scale", "learning_rate", "decay", "correction_1", "correction_2"]
            .map(|name| graph.input(name, Element::Float, &[]));
    let one = graph.scalar(1.0);
    let gradient = graph.mul(gradient, gradient_scale);
    let kept = graph.sub(one, decay);
    let decayed = graph.mul(parameter, kept);

    let (keep_1, take_1) = (graph.scalar(beta_1), graph.scalar(1.0 - beta_1));
    let (keep_2, take_2) = (graph.scalar(beta_2), graph.scalar(1.0 - beta_2));
    let (old, new) = (graph.mul(first, keep_1), graph.mul(gradient, take_1));
    let first = graph.add(old, new);
    let square = graph.mul(gradient, gradient);
    let (old, new) = (graph.mul(second, keep_2), graph.mul(square, take_2));
    let second = graph.add(old, new);

    let root = graph.sqrt(second);
    let root_correction = graph.sqrt(correction_2);
    let root = graph.div(root, root_correction);
    let epsilon = graph.scalar(epsilon);
    let denominator = graph.add(root, epsilon);
    let step_size = graph.div(learning_rate, correction_1);
    let direction = graph.div(first, denominator);
    let change = graph.mul(direction, step_size);
    let updated = graph.sub(decayed, change);
    graph.output(updated, "updated_parameters", Element::Float, &n);
    graph.output(first, "updated_first_moments", Element::Float, &n);
    graph.output(second, "updated_second_moments", Element::Float, &n);
    graph.encode("optimizer", "One AdamW step over a range of parameters.", &[])
}
