//! The optimizer graph.

use super::super::graph::{Dimension, Element, Graph, Value};

/// Builds the graph of one AdamW step over a range of parameters with one weight decay, all `[n]`,
/// in PyTorch's order of operations (`torch.optim.AdamW`): decay, moments, bias correction, update.
/// Scalars: `gradient_scale` (the clipping factor), `learning_rate`, `decay`
/// (`learning_rate * weight_decay`), `correction_1 = 1 - beta_1^t`, `correction_2 = 1 - beta_2^t`.
pub fn optimizer_model(beta_1: f32, beta_2: f32, epsilon: f32) -> Vec<u8> {
    let mut graph = Graph::new();
    let n = [Dimension::from("elements")];
    let [parameter, gradient, first, second] = ["parameters", "gradients", "first_moments", "second_moments"]
        .map(|name| graph.input(name, Element::Float, &n));
    let scalars = ["gradient_scale", "learning_rate", "decay", "correction_1", "correction_2"]
        .map(|name| graph.input(name, Element::Float, &[]));
    let step = AdamWScalars::new(&mut graph, [beta_1, beta_2, epsilon], scalars);
    let updated = graph.adamw(&step, AdamWRange { parameter, gradient, first, second }, true);
    let names = ["updated_parameters", "updated_first_moments", "updated_second_moments"];
    for (value, name) in updated.into_iter().zip(names) {
        graph.output(value, name, Element::Float, &n);
    }
    graph.encode("optimizer", "One AdamW step over a range of parameters.", &[])
}

/// A range of parameters with its gradients and moments, all of one shape.
pub(super) struct AdamWRange {
    pub(super) parameter: Value,
    pub(super) gradient: Value,
    pub(super) first: Value,
    pub(super) second: Value,
}

/// Scalars of an optimizer step, shared by all ranges.
pub(super) struct AdamWScalars {
    gradient_scale: Value,
    decay_factor: Value,
    root_correction: Value,
    step_size: Value,
    /// Decay factor of the first moment, and the weight of the new gradient.
    first: [Value; 2],
    /// Decay factor of the second moment, and the weight of the new squared gradient.
    second: [Value; 2],
    epsilon: Value,
}

impl AdamWScalars {
    /// Computes the step's scalars from the settings and the inputs
    /// `[gradient_scale, learning_rate, decay, correction_1, correction_2]`.
    pub(super) fn new(graph: &mut Graph, [beta_1, beta_2, epsilon]: [f32; 3], scalars: [Value; 5]) -> Self {
        let [gradient_scale, learning_rate, decay, correction_1, correction_2] = scalars;
        let one = graph.scalar(1.0);
        Self {
            gradient_scale,
            decay_factor: graph.sub(one, decay),
            root_correction: graph.sqrt(correction_2),
            step_size: graph.div(learning_rate, correction_1),
            first: [beta_1, 1.0 - beta_1].map(|share| graph.scalar(share)),
            second: [beta_2, 1.0 - beta_2].map(|share| graph.scalar(share)),
            epsilon: graph.scalar(epsilon),
        }
    }
}

impl Graph {
    /// Emits the range after the step: parameters, first and second moments. Weight decay applies
    /// only if `decays` is set.
    pub(super) fn adamw(&mut self, step: &AdamWScalars, range: AdamWRange, decays: bool) -> [Value; 3] {
        let AdamWRange { parameter, gradient, first, second } = range;
        let gradient = self.mul(gradient, step.gradient_scale);
        let decayed = if decays { self.mul(parameter, step.decay_factor) } else { parameter };
        let (old, new) = (self.mul(first, step.first[0]), self.mul(gradient, step.first[1]));
        let first = self.add(old, new);
        let square = self.mul(gradient, gradient);
        let (old, new) = (self.mul(second, step.second[0]), self.mul(square, step.second[1]));
        let second = self.add(old, new);

        let root = self.sqrt(second);
        let root = self.div(root, step.root_correction);
        let denominator = self.add(root, step.epsilon);
        let direction = self.div(first, denominator);
        let change = self.mul(direction, step.step_size);
        [self.sub(decayed, change), first, second]
    }
}
