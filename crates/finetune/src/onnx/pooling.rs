//! Token rows to one row per text.
//!
//! Packed: means and first tokens are products with a matrix the caller builds (`combine_rows`); the largest per
//! column depends on the rows themselves and is a layer of its own here. Padded: all three, for the exported
//! model. Source: sentence-transformers' `Pooling`.

use crate::model::Pooling;

use super::artifacts::MASKED;
use super::graph::{Dimension, Element, Graph, Value};
use super::tape::{Gradients, Step, Tape};

impl Tape {
    /// What the caller's pooling matrices multiply: the rows themselves, `[N, H]`, or for max pooling a row per
    /// text, `[T, H]`; and what those rows are counted in.
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

    /// The largest number of each column over each text's rows: `[N, H]` to `[T, H]`. `tokens` `[T, S]` holds the
    /// rows of each text, which follow each other; shorter texts repeat their first at the end.
    fn largest_rows(&mut self, x: Value, tokens: Value) -> Value {
        let graph = &mut self.graph;
        let padded = graph.gather(x, tokens, 0);
        // Of equal numbers the first wins, as in PyTorch: so the repeated row never does.
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
    /// `[T, H]`: the row of `x` each number came from.
    winners: Value,
    y: Value,
}

impl Step for LargestRows {
    fn output(&self) -> Value {
        self.y
    }

    /// Each number's gradient goes where the number came from. Texts share no row, so none is hit twice.
    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let zeros = graph.zeros_like(self.x);
        let x = graph.scatter_elements(zeros, self.winners, upstream, 0);
        gradients.add(graph, self.x, x);
    }
}

impl Graph {
    /// Pools padded rows `[T, S, H]` to `[T, H]`; `mask` `[T, S]` is 1 for a token, 0 for padding.
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
