//! The encoder as a graph. One implementation serves every architecture, packed (training,
//! evaluation) and padded (export).

use std::collections::BTreeMap;

use crate::model::EncoderConfig;

use super::attention::{Heads, PackedLayout};
use super::dropout::{ATTENTION, ATTENTION_OUTPUT, EMBEDDINGS, Masks, OUTPUT};
use super::graph::{Graph, Value};
use super::layers::Affine;
use super::names::{EMBEDDING_NORM, LayerTensors, POSITION, TOKEN_TYPE, WORD};
use super::tape::Tape;

/// Graph values of an encoder's parameters, by name.
pub(super) struct Weights(pub(super) BTreeMap<String, Value>);

impl Weights {
    fn get(&self, name: &str) -> Value {
        // `parameters` lists every name that is requested here, for the same configuration.
        self.0[name]
    }

    fn affine(&self, base: &str) -> Affine {
        Affine { weight: self.get(&format!("{base}.weight")), bias: self.get(&format!("{base}.bias")) }
    }
}

/// Rows of the look-up tables that the tokens use.
pub(super) struct Tokens {
    /// Index into the token table, `[N]`.
    pub(super) ids: Value,
    /// Index into the position table, `[N]`.
    pub(super) positions: Value,
    /// Index into the token-type table, in architectures that have one: `[N]`, or `[1]` for all
    /// tokens.
    pub(super) types: Value,
    /// Row that each token uses, `[N]`, if tokens share rows. The indices above are then `[U]`, one
    /// for each shared row.
    pub(super) shared: Option<Value>,
}

/// Arrangement of rows in texts.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    /// Packed rows, padded only inside attention; differentiable.
    Packed(PackedLayout),
    /// Packed rows without any padding; differentiable, and requires fused operators. The value
    /// `[T + 1]` holds the first row of each text, followed by the number of rows.
    Texts(Value),
    /// Every text padded to the same length; inference only. `shape` is `[T, S, 3, A, D]`, `length`
    /// is the scalar `S`, `key_mask` is `[T, 1, 1, S]`.
    Padded { shape: Value, length: Value, key_mask: Value },
}

impl Layout {
    /// Returns the length `S` that texts are padded to inside attention, a scalar.
    fn length(self, graph: &mut Graph) -> Option<Value> {
        match self {
            Self::Packed(layout) => Some(layout.length(graph)),
            Self::Padded { length, .. } => Some(length),
            Self::Texts(_) => None,
        }
    }
}

/// Outputs of an encoder.
pub(super) struct Encoded {
    /// Sum of the embeddings before its normalization, `[N, H]`, or `[U, H]` for shared rows. Its
    /// gradient is the source of the look-up tables' gradients.
    pub(super) embeddings: Value,
    /// One row per token, `[N, H]`.
    pub(super) rows: Value,
}

/// Emits the encoder, with dropout at the places of `masks`.
pub(super) fn encode(
    tape: &mut Tape,
    config: &EncoderConfig,
    weights: &Weights,
    tokens: &Tokens,
    layout: Layout,
    masks: &Masks,
) -> Encoded {
    let heads = Heads { count: config.heads, size: config.hidden / config.heads };
    let embeddings = embed(&mut tape.graph, config, weights, tokens);
    let normed = tape.layer_norm(embeddings, weights.affine(EMBEDDING_NORM), config.epsilon);
    // All layers share the bias.
    let bias = config.architecture.description().relative_bias.and_then(|table| {
        let length = layout.length(&mut tape.graph)?;
        Some(tape.relative_bias(weights.get(table), length, config.longest()))
    });
    let mut x = tape.dropout(normed, masks.get(EMBEDDINGS, OUTPUT));
    let mut shared = tokens.shared;
    for layer in 0..config.layers {
        let names = LayerTensors::of(config, layer);
        tape.graph.enter(names.base.clone());
        let mut stacked = tape.linear(x, weights.affine(&names.stacked));
        // Up to here a token's row depends only on the token and its position.
        if let Some(rows) = shared.take() {
            x = tape.spread(x, rows);
            stacked = tape.spread(stacked, rows);
        }
        let context = match layout {
            Layout::Packed(layout) => {
                tape.packed_attention(stacked, heads, layout, bias, masks.get(&names.base, ATTENTION))
            }
            Layout::Texts(starts) => tape.text_attention(stacked, heads, starts),
            Layout::Padded { shape, key_mask, .. } => {
                tape.graph.padded_attention(stacked, heads, shape, key_mask, bias)
            }
        };
        let mask = masks.get(&names.base, ATTENTION_OUTPUT);
        let sum = tape.linear_onto(x, context, weights.affine(&names.attention_output), mask);
        let attended = tape.layer_norm(sum, weights.affine(&names.attention_norm), config.epsilon);
        let active = tape.linear_gelu(attended, weights.affine(&names.intermediate));
        let mask = masks.get(&names.base, OUTPUT);
        let sum = tape.linear_onto(attended, active, weights.affine(&names.output), mask);
        x = tape.layer_norm(sum, weights.affine(&names.output_norm), config.epsilon);
    }
    tape.graph.enter("head");
    Encoded { embeddings, rows: x }
}

fn embed(graph: &mut Graph, config: &EncoderConfig, weights: &Weights, tokens: &Tokens) -> Value {
    graph.enter("embeddings");
    let mut sum = graph.gather(weights.get(WORD), tokens.ids, 0);
    if config.token_types > 0 {
        let kind = graph.gather(weights.get(TOKEN_TYPE), tokens.types, 0);
        sum = graph.add(sum, kind);
    }
    let position = graph.gather(weights.get(POSITION), tokens.positions, 0);
    graph.add(sum, position)
}
