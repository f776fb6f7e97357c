//! Reverse-mode differentiation at the level of layers.
//!
//! The forward pass records a [`Step`] for each layer; [`Tape::backward`] walks them in reverse, and each step
//! turns the gradient of its output into gradients of its inputs and parameters (its vector-Jacobian product).
//! Steps are layers rather than single operators so that a backward pass can use what it knows, such as adding
//! a residual's gradient inside a matrix product (`Gemm`'s third input).
//!
//! Invariant: a step is recorded after the steps that made its inputs. So when its turn comes in reverse, every
//! reader of its output has already contributed to that output's gradient.

use std::collections::{BTreeMap, HashMap};

use super::form::GraphForm;
use super::graph::{Graph, Value};

/// A differentiable layer that has been emitted into the graph.
pub(super) trait Step {
    /// The value this step produced.
    fn output(&self) -> Value;

    /// Emits the gradients of this step's inputs, given the gradient of its output.
    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients);
}

/// Gradients known so far, by the value they belong to.
#[derive(Default)]
pub(super) struct Gradients {
    /// By value; a step takes its output's. What is left at the end belongs to values no step produced.
    pub(super) inputs: HashMap<Value, Value>,
    /// By parameter.
    pub(super) parameters: BTreeMap<Value, Value>,
    /// By weight of a linear layer, where its gradient isn't computed: the gradient of the layer's output, and its input.
    pub(super) factors: BTreeMap<Value, [Value; 2]>,
    /// Sums over rows of gradients, where the node that made one gave its sum out, too.
    column_sums: HashMap<Value, Value>,
}

impl Gradients {
    /// Adds a contribution to the gradient of `of`.
    pub(super) fn add(&mut self, graph: &mut Graph, of: Value, gradient: Value) {
        let sum = match self.inputs.remove(&of) {
            Some(earlier) => graph.add(earlier, gradient),
            None => gradient,
        };
        self.inputs.insert(of, sum);
    }

    /// Takes what has been contributed to `of` so far, for a step that folds it into its own result.
    /// That step must put the sum back with [`replace`](Self::replace).
    pub(super) fn take(&mut self, of: Value) -> Option<Value> {
        self.inputs.remove(&of)
    }

    /// Sets the gradient of `of`, all contributions so far included.
    pub(super) fn replace(&mut self, of: Value, gradient: Value) {
        self.inputs.insert(of, gradient);
    }

    /// Notes that `sum` is `gradient` summed over all rows.
    pub(super) fn know_sum(&mut self, gradient: Value, sum: Value) {
        self.column_sums.insert(gradient, sum);
    }

    /// `gradient` summed over all rows, if a node gives that out.
    pub(super) fn known_sum(&self, gradient: Value) -> Option<Value> {
        self.column_sums.get(&gradient).copied()
    }

    /// `gradient` summed over all rows: the gradient of a bias.
    pub(super) fn column_sum(&self, graph: &mut Graph, gradient: Value) -> Value {
        self.known_sum(gradient).unwrap_or_else(|| graph.sum(gradient, 0, false))
    }

    /// Sets the gradient of a parameter. Each parameter is used by one step.
    pub(super) fn parameter(&mut self, parameter: Value, gradient: Value) {
        let earlier = self.parameters.insert(parameter, gradient);
        debug_assert!(earlier.is_none(), "a parameter was used by two steps");
    }
}

/// A graph with the record of its differentiable steps.
#[derive(Default)]
pub struct Tape {
    pub(super) graph: Graph,
    steps: Vec<Box<dyn Step>>,
}

impl Tape {
    /// An empty tape over an empty graph in standard operators.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty tape over an empty graph of this form.
    pub(super) fn of(form: GraphForm) -> Self {
        let mut tape = Self::default();
        tape.graph.form = form;
        tape
    }

    pub(super) fn record(&mut self, step: impl Step + 'static) -> Value {
        let output = step.output();
        self.steps.push(Box::new(step));
        output
    }

    /// Emits the backward pass from `seeds` (a value and the gradient of the loss with respect to it) and
    /// returns every gradient that is left: of parameters, and of the values no step produced.
    pub(super) fn backward(&mut self, seeds: &[(Value, Value)]) -> Gradients {
        let mut gradients = Gradients::default();
        for (of, gradient) in seeds {
            gradients.add(&mut self.graph, *of, *gradient);
        }
        for step in self.steps.iter().rev() {
            // A value nobody differentiates through (no reader led to the loss) has no gradient.
            if let Some(upstream) = gradients.take(step.output()) {
                step.backward(&mut self.graph, upstream, &mut gradients);
            }
        }
        gradients
    }
}
