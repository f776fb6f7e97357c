//! Graphs for a run whose parameters and moments stay in a device's memory. Every gradient has its
//! parameter's shape, and norm, clipping and update are operators.
//!
//! The graphs use standard operators only, so that one graph serves any device, including the CPU
//! for comparison.

use crate::model::EncoderConfig;

use super::super::graph::{Element, Graph, Value};
use super::super::ops::Product;
use super::super::parameter::{GradientForm, Parameter, RowIndex, parameters};
use super::super::tape::Gradients;
use super::optimizer::{AdamWRange, AdamWScalars};
use super::{Packed, parameter_dims};

/// Builds the graph of one AdamW step over all parameters, with clipping by the norm of all
/// gradients together (`torch.nn.utils.clip_grad_norm_`). The update is that of
/// [`optimizer_model`](super::optimizer_model) for each range.
///
/// Inputs for each of [`parameters`]: the parameter, `gradient.<name>`, `first_moments.<name>` and
/// `second_moments.<name>`, all of its shape. Further inputs: the scalars `learning_rate`, `decay`,
/// `correction_1`, `correction_2`. Outputs: the scalar `gradient_norm`, before clipping to
/// `longest`, and `updated.<input>` of parameters and moments.
pub fn resident_optimizer_model(
    config: &EncoderConfig,
    [beta_1, beta_2, epsilon]: [f32; 3],
    longest: f32,
) -> Vec<u8> {
    let mut graph = Graph::new();
    let ranges: Vec<(Parameter, [Value; 4])> = parameters(config)
        .into_iter()
        .map(|parameter| {
            let dims = parameter_dims(&parameter);
            let names = ResidentNames::of(&parameter);
            let inputs = [&names.parameter, &names.gradient, &names.first, &names.second];
            let values = inputs.map(|name| graph.input(name, Element::Float, &dims));
            (parameter, values)
        })
        .collect();
    let [learning_rate, decay, correction_1, correction_2] =
        ["learning_rate", "decay", "correction_1", "correction_2"]
            .map(|name| graph.input(name, Element::Float, &[]));

    let gradients: Vec<(Value, usize)> =
        ranges.iter().map(|(parameter, [_, gradient, ..])| (*gradient, parameter.shape.len())).collect();
    let norm = graph.length_of_all(&gradients);
    let gradient_scale = graph.clip_factor(norm, longest);
    graph.output(norm, "gradient_norm", Element::Float, &[]);

    let step = AdamWScalars::new(
        &mut graph,
        [beta_1, beta_2, epsilon],
        [gradient_scale, learning_rate, decay, correction_1, correction_2],
    );
    for (parameter, [value, gradient, first, second]) in ranges {
        let range = AdamWRange { parameter: value, gradient, first, second };
        let updated = graph.adamw(&step, range, parameter.decays);
        let (dims, names) = (parameter_dims(&parameter), ResidentNames::of(&parameter));
        for (value, name) in updated.into_iter().zip([&names.parameter, &names.first, &names.second]) {
            graph.output(value, &ResidentNames::updated(name), Element::Float, &dims);
        }
    }
    graph.encode("resident optimizer", "One AdamW step over all parameters, with clipping.", &[])
}

/// Builds the graph that adds up the gradients of a batch in parts. Inputs: `sum.<name>` and
/// `gradient.<name>` for each of [`parameters`]. Outputs: `updated.sum.<name>`.
pub fn resident_sum_model(config: &EncoderConfig) -> Vec<u8> {
    let mut graph = Graph::new();
    for parameter in parameters(config) {
        let (dims, names) = (parameter_dims(&parameter), ResidentNames::of(&parameter));
        let sum_name = names.sum();
        let [sum, gradient] =
            [&sum_name, &names.gradient].map(|name| graph.input(name, Element::Float, &dims));
        let sum = graph.add(sum, gradient);
        graph.output(sum, &ResidentNames::updated(&sum_name), Element::Float, &dims);
    }
    graph.encode("resident sum", "Gradients of the parts of a batch, added up.", &[])
}

/// Names of a parameter, its gradient and its moments in the resident graphs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResidentNames {
    /// Name of the parameter.
    pub parameter: String,
    /// Name of its gradient.
    pub gradient: String,
    /// Name of its first moment.
    pub first: String,
    /// Name of its second moment.
    pub second: String,
}

impl ResidentNames {
    /// Returns the names for this parameter.
    pub fn of(parameter: &Parameter) -> Self {
        let name = &parameter.name;
        Self {
            parameter: name.clone(),
            gradient: format!("gradient.{name}"),
            first: format!("first_moments.{name}"),
            second: format!("second_moments.{name}"),
        }
    }

    /// Returns the name of the sum of its gradients over the parts of a batch.
    pub fn sum(&self) -> String {
        format!("sum.{}", self.parameter)
    }

    /// Returns the name of the output that replaces an input.
    pub fn updated(name: &str) -> String {
        format!("updated.{name}")
    }
}

/// Declares an output for each parameter's gradient, in the parameter's shape.
pub(super) fn whole_gradients(graph: &mut Graph, gradients: &Gradients, packed: &Packed) {
    let rows = gradients.inputs[&packed.encoded.embeddings];
    for (parameter, value) in &packed.parameters {
        let gradient = match parameter.gradient {
            GradientForm::Dense => gradients.parameters[value],
            GradientForm::Rows(index) => table_gradient(graph, packed, rows, *value, index),
        };
        let name = ResidentNames::of(parameter).gradient;
        graph.output(gradient, &name, Element::Float, &parameter_dims(parameter));
    }
}

/// Adds each token's gradient row to the row of `table` that the token used, as a product with the
/// one-hot matrix of used rows. A `ScatterND` that adds would be simpler, but on CUDA it adds by
/// atomics in the order in which threads arrive, so two runs would differ. A product's order is
/// fixed, and its factor is small: `[N, rows a run uses]`.
fn table_gradient(graph: &mut Graph, packed: &Packed, rows: Value, table: Value, index: RowIndex) -> Value {
    let (indices, rows) = match index {
        RowIndex::Ids => (packed.ids, rows),
        RowIndex::Positions => (packed.positions, rows),
        // Every token used the first row, so the sum of all rows belongs there.
        RowIndex::First => (graph.ints(&[0]), graph.sum(rows, 0, true)),
    };
    let shape = graph.shape_of(table);
    let zero = graph.int(0);
    let height = graph.gather(shape, zero, 0);
    let used = graph.one_hot_of(indices, height);
    graph.gemm(used, rows, None, Product::LEFT_TRANSPOSED)
}

impl Graph {
    /// Emits the norm of several tensors together, as of one vector. Each tensor comes with its
    /// number of dimensions. Squares beyond float32 (a norm above 1.8e19) make the result infinite,
    /// as in PyTorch.
    fn length_of_all(&mut self, tensors: &[(Value, usize)]) -> Value {
        let squares: Vec<Value> = tensors
            .iter()
            .map(|(tensor, dimensions)| {
                let squares = self.mul(*tensor, *tensor);
                // Rows are summed first: a sum of a few partial sums rounds less than a sum of
                // millions of elements.
                let sums = if *dimensions > 1 { self.sum(squares, -1, false) } else { squares };
                self.total(sums)
            })
            .collect();
        let sum = self.sum_of(&squares);
        self.sqrt(sum)
    }

    /// Emits the factor that scales gradients of norm `norm` to at most `longest`.
    fn clip_factor(&mut self, norm: Value, longest: f32) -> Value {
        let (small, longest, one) = (self.scalar(1e-6), self.scalar(longest), self.scalar(1.0));
        let norm = self.add(norm, small);
        let factor = self.div(longest, norm);
        self.min(factor, one)
    }
}
