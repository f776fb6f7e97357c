//! Pooling: the reduction of token rows to one row per text.
//!
//! For packed rows, mean and first-token pooling are products with a matrix that the caller builds
//! (`combine_rows`). Max pooling depends on the rows themselves, and is a layer of its own in this
//! module. For padded rows, which the exported model has, all three are here. Source:
//! sentence-transformers' `Pooling`.

use crate::model::Pooling;

use super::artifacts::MASKED;
use super::graph::{Dimension, Element, Graph, Value};
use super::tape::{Gradients, Step, Tape};

impl Tape {
    /// Returns the rows that the caller's pooling matrices multiply, and the dimension that counts
    /// them. The rows are `rows` itself, `[N, H]`, or for max pooling one row per text, `[T, H]`.
    pub(super) fn poolable(&mut self, rows: Value, pooling: Pooling) -> (Value, Dimension) {
        match pooling {
            Pooling::Mean | Pooling::Cls => (rows, "tokens".into()),
            Pooling::Max => {
                let dims = ["texts".into(), "length".into()];
                let tokens = self.graph.input("text_tokens", Element::Int64, &dims);
                (self.largest_rows(rows, tokens), "texts".into())
            }
        }
    }

    /// Returns the maximum of each column over each text's rows: `[N, H]` to `[T, H]`. `tokens`
    /// `[T, S]` holds the rows of each text, which are consecutive; shorter texts repeat their
    /// first row at the end.
    fn largest_rows(&mut self, x: Value, tokens: Value) -> Value {
        let graph = &mut self.graph;
        let padded = graph.gather(x, tokens, 0);
        // Of equal values the first wins, as in PyTorch. So the repeated row never wins.
        let places = graph.arg_max(padded, 1);
        let zero = graph.ints(&[0]);
        let starts = graph.gather(tokens, zero, 1);
        let winners = graph.add(places, starts);
        let y = graph.gather_elements(x, winners, 0);
        self.record(LargestRows { x, winners, y })
    }
}

struct LargestRows {
    x: Value,
    /// Row of `x` that each maximum came from, `[T, H]`.
    winners: Value,
    y: Value,
}

impl Step for LargestRows {
    fn output(&self) -> Value {
        self.y
    }

    /// Scatters each maximum's gradient to the element that it came from. Texts share no row, so no
    /// element is written twice.
    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let zeros = graph.zeros_like(self.x);
        let x = graph.scatter_elements(zeros, self.winners, upstream, 0);
        gradients.add(graph, self.x, x);
    }
}

impl Graph {
    /// Pools padded rows `[T, S, H]` to `[T, H]`. `mask` `[T, S]` is 1 for a token and 0 for
    /// padding.
    pub(super) fn pool_padded(&mut self, hidden: Value, mask: Value, pooling: Pooling) -> Value {
        match pooling {
            Pooling::Cls => {
                let first = self.int(0);
                self.gather(hidden, first, 1)
            }
            Pooling::Mean => {
                let weights = self.unsqueeze(mask, &[-1]);
                let present = self.mul(hidden, weights);
                let sum = self.sum(present, 1, false);
                let count = self.sum(mask, 1, true);
                let least = self.scalar(1e-9);
                let count = self.max(count, least);
                self.div(sum, count)
            }
            Pooling::Max => {
                let present = self.cast_bool(mask);
                let present = self.unsqueeze(present, &[-1]);
                let lowest = self.scalar(MASKED);
                let present = self.choose(present, hidden, lowest);
                self.largest(present, 1)
            }
        }
    }
}
