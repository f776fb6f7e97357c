//! Multi-head self-attention over packed or padded rows.
//!
//! Shapes: `N` tokens in the batch, `T` texts, `S` tokens in the longest text, `A` heads of width
//! `D = H / A`.
//!
//! *Packed* attention starts from stacked rows `[N, 3H]`. One gather, with indices from the caller,
//! pads the texts and separates the heads, and the inverse gather packs the result. Padded key
//! positions are masked before the softmax. Padded query positions are multiplied by zero after it,
//! so that no gradient enters through them.
//!
//! *Padded* attention takes `[T * S, 3H]`, and only the exported inference model uses it.

use super::graph::{Dimension, Element, Graph, Value};
use super::ops::Product;
use super::tape::{Gradients, Step, Tape};

/// Inputs that let packed rows attend within their text.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedLayout {
    /// `[3, T, A, S]`: for query, key and value, the row of `[3 A N, D]` that holds a padded
    /// position.
    unpack: Value,
    /// `[N, A]`: the row of `[T A S, D]` that holds a token's head.
    pack: Value,
    /// `[T, A, S]`: the row of `[N A, D]` that holds a padded position; the inverse of `pack`.
    unpack_context: Value,
    /// `[N, 3A]`: the row of `[3 T A S, D]` that holds a token's query, key or value head; the
    /// inverse of `unpack`.
    pack_stacked: Value,
    /// `[T, 1, 1, S]`: 0 for a token, a large negative number for padding.
    key_mask: Value,
    /// `[T, 1, S, 1]`: 1 for a token, 0 for padding.
    query_mask: Value,
}

impl PackedLayout {
    /// Declares the layout's inputs. Graphs without a backward pass omit the inputs that only it
    /// needs.
    pub(super) fn declare(graph: &mut Graph, heads: usize, backward: bool) -> Self {
        let (t, s, n) =
            (|| Dimension::from("texts"), || Dimension::from("length"), || Dimension::from("tokens"));
        let (one, a) = (|| Dimension::from(1), || Dimension::from(heads));
        let unpack = graph.input("unpack", Element::Int64, &[3.into(), t(), a(), s()]);
        let pack = graph.input("pack", Element::Int64, &[n(), a()]);
        let key_mask = graph.input("key_mask", Element::Float, &[t(), one(), one(), s()]);
        let query_mask = graph.input("query_mask", Element::Float, &[t(), one(), s(), one()]);
        let (unpack_context, pack_stacked) = if backward {
            (
                graph.input("unpack_context", Element::Int64, &[t(), a(), s()]),
                graph.input("pack_stacked", Element::Int64, &[n(), (3 * heads).into()]),
            )
        } else {
            (unpack, pack)
        };
        Self { unpack, pack, unpack_context, pack_stacked, key_mask, query_mask }
    }

    /// Returns the length `S` of the longest text, a scalar.
    pub(super) fn length(self, graph: &mut Graph) -> Value {
        let shape = graph.shape_of(self.key_mask);
        let last = graph.int(3);
        graph.gather(shape, last, 0)
    }
}

/// Number and width of the heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) count: usize,
    pub(super) size: usize,
}

impl Heads {
    fn scale(self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }
}

impl Tape {
    /// Emits attention within each text: `[N, 3H]` (query, key, value side by side) to `[N, H]`.
    /// `bias` `[A, S, S]` is added to the scores, and the probabilities are multiplied by `mask`
    /// `[T, A, S, S]`.
    pub(super) fn packed_attention(
        &mut self,
        stacked: Value,
        heads: Heads,
        layout: PackedLayout,
        bias: Option<Value>,
        mask: Option<Value>,
    ) -> Value {
        let graph = &mut self.graph;
        let size = heads.size as i64;
        let rows = graph.reshape(stacked, &[-1, size]);
        let padded = graph.gather(rows, layout.unpack, 0);
        let [query, key, value] = graph.split_three(padded);
        let scores = graph.matmul(query, key, Product::RIGHT_TRANSPOSED.scaled(heads.scale()));
        let scores = match bias {
            Some(bias) => graph.add(scores, bias),
            None => scores,
        };
        let scores = graph.add(scores, layout.key_mask);
        let attention = graph.softmax(scores);
        let attention = graph.mul(attention, layout.query_mask);
        let probabilities = match mask {
            Some(mask) => graph.mul(attention, mask),
            None => attention,
        };
        let context = graph.matmul(probabilities, value, Product::PLAIN);
        let context = graph.reshape(context, &[-1, size]);
        let packed = graph.gather(context, layout.pack, 0);
        let output = graph.reshape(packed, &[-1, (heads.count * heads.size) as i64]);
        self.record(PackedAttention {
            stacked,
            heads,
            layout,
            bias,
            mask,
            query,
            key,
            value,
            attention,
            probabilities,
            output,
        })
    }
}

impl Graph {
    /// Emits attention within each padded text, for inference: `[T * S, 3H]` to `[T * S, H]`.
    /// `padded_shape` is the vector `[T, S, 3, A, D]`, `key_mask` is `[T, 1, 1, S]`.
    pub(super) fn padded_attention(
        &mut self,
        stacked: Value,
        heads: Heads,
        padded_shape: Value,
        key_mask: Value,
        bias: Option<Value>,
    ) -> Value {
        let split = self.reshape_to(stacked, padded_shape);
        let split = self.transpose(split, &[2, 0, 3, 1, 4]);
        let [query, key, value] = self.split_three(split);
        // The query is scaled and the products are plain `MatMul`s, so that any ONNX runtime can
        // load the exported model.
        let scale = self.scalar(heads.scale());
        let query = self.mul(query, scale);
        let key = self.transpose(key, &[0, 1, 3, 2]);
        let scores = self.op("MatMul", &[query, key], &[]);
        let scores = match bias {
            Some(bias) => self.add(scores, bias),
            None => scores,
        };
        let scores = self.add(scores, key_mask);
        let attention = self.softmax(scores);
        let context = self.op("MatMul", &[attention, value], &[]);
        let context = self.transpose(context, &[0, 2, 1, 3]);
        self.reshape(context, &[-1, (heads.count * heads.size) as i64])
    }
}

impl Tape {
    /// Emits attention within each text without padding, as a fused operator: `[N, 3H]` to
    /// `[N, H]`. `starts` `[T + 1]` holds the first row of each text, followed by the number of
    /// rows.
    pub(super) fn text_attention(&mut self, stacked: Value, heads: Heads, starts: Value) -> Value {
        let (output, probabilities) = self.graph.fused_attention(stacked, starts, heads);
        self.record(TextAttention { stacked, starts, heads, probabilities, output })
    }
}

struct TextAttention {
    stacked: Value,
    starts: Value,
    heads: Heads,
    probabilities: Value,
    output: Value,
}

impl Step for TextAttention {
    fn output(&self) -> Value {
        self.output
    }

    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let (stacked, sum) = graph.fused_attention_gradient(
            upstream,
            self.stacked,
            self.starts,
            self.probabilities,
            self.heads,
        );
        gradients.know_sum(stacked, sum);
        gradients.add(graph, self.stacked, stacked);
    }
}

struct PackedAttention {
    stacked: Value,
    heads: Heads,
    layout: PackedLayout,
    bias: Option<Value>,
    mask: Option<Value>,
    query: Value,
    key: Value,
    value: Value,
    attention: Value,
    /// `attention` after dropout.
    probabilities: Value,
    output: Value,
}

impl Step for PackedAttention {
    fn output(&self) -> Value {
        self.output
    }

    /// Emits the gradients. With `P = softmax(scores)` and `dP = mask * (dcontext * value^T)`:
    /// `dscores = P * (dP - sum(dP * P))`.
    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let size = self.heads.size as i64;
        let scale = self.heads.scale();
        let rows = graph.reshape(upstream, &[-1, size]);
        // Padded positions gather the gradient of an arbitrary token here. The masked attention
        // multiplies it by zero.
        let context = graph.gather(rows, self.layout.unpack_context, 0);
        let value = graph.matmul(self.probabilities, context, Product::LEFT_TRANSPOSED);
        let attention = graph.matmul(context, self.value, Product::RIGHT_TRANSPOSED);
        let attention = match self.mask {
            Some(mask) => graph.mul(attention, mask),
            None => attention,
        };
        let weighted = graph.mul(attention, self.attention);
        let sum = graph.sum(weighted, -1, true);
        let shared = graph.mul(self.attention, sum);
        let scores = graph.sub(weighted, shared);
        if let Some(bias) = self.bias {
            let over_texts = graph.sum(scores, 0, false);
            gradients.add(graph, bias, over_texts);
        }
        let query = graph.matmul(scores, self.key, Product::PLAIN.scaled(scale));
        let key = graph.matmul(scores, self.query, Product::LEFT_TRANSPOSED.scaled(scale));
        let flat = [query, key, value].map(|part| graph.reshape(part, &[-1, size]));
        let all = graph.concat(&flat, 0);
        let packed = graph.gather(all, self.layout.pack_stacked, 0);
        let stacked = graph.reshape(packed, &[-1, 3 * self.heads.count as i64 * size]);
        gradients.add(graph, self.stacked, stacked);
    }
}
