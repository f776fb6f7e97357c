//! Reverse-mode differentiation at the level of layers.
//!
//! The forward pass records a [`Step`] for each layer. [`Tape::backward`] visits the steps in
//! reverse, and each step converts the gradient of its output into gradients of its inputs and
//! parameters (its vector-Jacobian product). Steps are layers rather than single operators, so that
//! a backward pass can use the structure of its layer: it can add a residual's gradient inside a
//! matrix product (`Gemm`'s third input), for example.
//!
//! Invariant: a step is recorded after the steps that produce its inputs. So when the reverse pass
//! reaches a step, every reader of its output has already contributed to that output's gradient.

use std::collections::{BTreeMap, HashMap};

use super::form::GraphForm;
use super::graph::{Graph, Value};

/// A differentiable layer that has been emitted into the graph.
pub(super) trait Step {
    /// The value that this step produced.
    fn output(&self) -> Value;

    /// Returns the value before GELU of a step whose output is not kept for the backward pass, but computed
    /// again there.
    fn before_gelu(&self) -> Option<Value> {
        None
    }

    /// Emits the gradients of this step's inputs, given the gradient of its output.
    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients);
}

/// Gradients known so far, by the value they belong to.
#[derive(Default)]
pub(super) struct Gradients {
    /// Gradients by value. A step takes the gradient of its output; those that remain at the end
    /// belong to values that no step produced.
    pub(super) inputs: HashMap<Value, Value>,
    /// Gradients by parameter.
    pub(super) parameters: BTreeMap<Value, Value>,
    /// Factors of the gradients of linear layers' weights that aren't computed, by weight: the
    /// gradient of the layer's output, and the layer's input.
    pub(super) factors: BTreeMap<Value, [Value; 2]>,
    /// Sums of gradients over all rows, by gradient, for nodes that return both.
    column_sums: HashMap<Value, Value>,
    /// Values before GELU, by its result.
    before_gelu: HashMap<Value, Value>,
    /// Results and slopes of GELU that were computed again, by the first result.
    again: HashMap<Value, (Value, Value)>,
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

    /// Takes the gradient of `of` so far, for a step that folds it into its own result. That step
    /// must put the sum back with [`replace`](Self::replace).
    pub(super) fn take(&mut self, of: Value) -> Option<Value> {
        self.inputs.remove(&of)
    }

    /// Sets the gradient of `of`, which must include all contributions so far.
    pub(super) fn replace(&mut self, of: Value, gradient: Value) {
        self.inputs.insert(of, gradient);
    }

    /// Records that `sum` is `gradient` summed over all rows.
    pub(super) fn know_sum(&mut self, gradient: Value, sum: Value) {
        self.column_sums.insert(gradient, sum);
    }

    /// Returns the recorded sum of `gradient` over all rows, if a node returns one.
    pub(super) fn known_sum(&self, gradient: Value) -> Option<Value> {
        self.column_sums.get(&gradient).copied()
    }

    /// Returns `gradient` summed over all rows, which is the gradient of a bias.
    pub(super) fn column_sum(&self, graph: &mut Graph, gradient: Value) -> Value {
        self.known_sum(gradient).unwrap_or_else(|| graph.sum(gradient, 0, false))
    }

    /// Returns a value of the forward pass: itself, or GELU's result computed again once the gradient `after`
    /// is known. So that result lives for two steps of the backward pass, and not from the forward pass on.
    pub(super) fn again(&mut self, graph: &mut Graph, of: Value, after: Value) -> Value {
        match self.before_gelu.get(&of) {
            Some(before) => self.gelu_again(graph, of, *before, after).0,
            None => of,
        }
    }

    /// Returns a GELU's result and slope, computed again from the value before it.
    pub(super) fn gelu_again(
        &mut self,
        graph: &mut Graph,
        result: Value,
        before: Value,
        after: Value,
    ) -> (Value, Value) {
        *self.again.entry(result).or_insert_with(|| graph.fused_gelu_with_slope(before, after))
    }

    /// Sets the gradient of a parameter. Only one step may use each parameter.
    pub(super) fn parameter(&mut self, parameter: Value, gradient: Value) {
        let earlier = self.parameters.insert(parameter, gradient);
        debug_assert!(earlier.is_none(), "a parameter was used by two steps");
    }
}

/// A graph together with the record of its differentiable steps.
#[derive(Default)]
pub struct Tape {
    pub(super) graph: Graph,
    steps: Vec<Box<dyn Step>>,
}

impl Tape {
    /// Creates an empty tape over an empty graph in standard operators.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty tape over an empty graph of this form.
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

    /// Emits the backward pass from `seeds` (a value and the gradient of the loss with respect to
    /// it). Returns every remaining gradient: those of parameters, and of values that no step
    /// produced.
    pub(super) fn backward(&mut self, seeds: &[(Value, Value)]) -> Gradients {
        let before_gelu = self.steps.iter().filter_map(|step| Some((step.output(), step.before_gelu()?)));
        let mut gradients = Gradients { before_gelu: before_gelu.collect(), ..Gradients::default() };
        for (of, gradient) in seeds {
            gradients.add(&mut self.graph, *of, *gradient);
        }
        for step in self.steps.iter().rev() {
            // A value that doesn't lead to the loss has no gradient.
            if let Some(upstream) = gradients.take(step.output()) {
                step.backward(&mut self.graph, upstream, &mut gradients);
            }
        }
        gradients
    }
}
