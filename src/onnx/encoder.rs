//! The BERT encoder as a graph, written once and used packed (training, evaluation) and padded (export).

use std::collections::BTreeMap;

use crate::model::EncoderConfig;

use super::attention::{Heads, PackedLayout};
use super::graph::{Graph, Value};
use super::layers::Affine;
use super::parameter::{GradientForm, Parameter, RowIndex};
use super::tape::Tape;

const WORD: &str = "embeddings.word_embeddings.weight";
const POSITION: &str = "embeddings.position_embeddings.weight";
const TOKEN_TYPE: &str = "embeddings.token_type_embeddings.weight";

/// The encoder's trainable tensors, in the order in which a checkpoint stores them: decayed ones first, so that
/// each of the optimiser's two groups is one contiguous range.
pub fn parameters(config: &EncoderConfig) -> Vec<Parameter> {
    let (h, f) = (config.hidden, config.intermediate);
    let table = |name: &str, rows: usize, index: RowIndex| Parameter {
        name: name.to_owned(),
        sources: vec![name.to_owned()],
        shape: vec![rows, h],
        decays: true,
        gradient: GradientForm::Rows(index),
    };
    let mut all = vec![
        table(WORD, config.vocabulary, RowIndex::Ids),
        table(POSITION, config.positions, RowIndex::Positions),
        table(TOKEN_TYPE, config.token_types, RowIndex::First),
    ];
    let mut dense = |name: String, sources: Vec<String>, shape: Vec<usize>| {
        let decays = shape.len() > 1;
        all.push(Parameter { name, sources, shape, decays, gradient: GradientForm::Dense });
    };
    let plain = |name: String| (name.clone(), vec![name]);
    for (part, shape) in [("weight", h), ("bias", h)] {
        let (name, sources) = plain(format!("embeddings.LayerNorm.{part}"));
        dense(name, sources, vec![shape]);
    }
    for layer in 0..config.layers {
        let names = LayerNames::new(layer);
        for (part, shape) in [("weight", vec![3 * h, h]), ("bias", vec![3 * h])] {
            let sources = ["query", "key", "value"]
                .map(|side| format!("encoder.layer.{layer}.attention.self.{side}.{part}"))
                .to_vec();
            dense(format!("{}.{part}", names.stacked), sources, shape);
        }
        for (base, out, input) in
            [(&names.attention_output, h, h), (&names.intermediate, f, h), (&names.output, h, f)]
        {
            let (name, sources) = plain(format!("{base}.weight"));
            dense(name, sources, vec![out, input]);
            let (name, sources) = plain(format!("{base}.bias"));
            dense(name, sources, vec![out]);
        }
        for base in [&names.attention_norm, &names.output_norm] {
            for part in ["weight", "bias"] {
                let (name, sources) = plain(format!("{base}.{part}"));
                dense(name, sources, vec![h]);
            }
        }
    }
    // Stable: keeps the model's order within each group.
    all.sort_by_key(|parameter| !parameter.decays);
    all
}

struct LayerNames {
    stacked: String,
    attention_output: String,
    attention_norm: String,
    intermediate: String,
    output: String,
    output_norm: String,
}

impl LayerNames {
    fn new(layer: usize) -> Self {
        let base = format!("encoder.layer.{layer}");
        Self {
            stacked: format!("{base}.attention.self.query_key_value"),
            attention_output: format!("{base}.attention.output.dense"),
            attention_norm: format!("{base}.attention.output.LayerNorm"),
            intermediate: format!("{base}.intermediate.dense"),
            output: format!("{base}.output.dense"),
            output_norm: format!("{base}.output.LayerNorm"),
        }
    }
}

/// The graph values of an encoder's parameters, by name.
pub(super) struct Weights(pub(super) BTreeMap<String, Value>);

impl Weights {
    fn get(&self, name: &str) -> Value {
        // Every name asked for here is one that `parameters` lists, for the same configuration.
        self.0[name]
    }

    fn affine(&self, base: &str) -> Affine {
        Affine { weight: self.get(&format!("{base}.weight")), bias: self.get(&format!("{base}.bias")) }
    }
}

/// Which rows of the look-up tables the tokens use.
pub(super) struct Tokens {
    /// Index into the token table, `[N]`.
    pub(super) ids: Value,
    /// Index into the position table, `[N]`.
    pub(super) positions: Value,
    /// Index into the token-type table: `[N]`, or `[1]` for all tokens alike.
    pub(super) types: Value,
}

/// How rows relate to texts.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    /// No padding; differentiable.
    Packed(PackedLayout),
    /// Every text padded to the same length; inference only. `shape` is `[T, S, 3, A, D]`, `key_mask` is
    /// `[T, 1, 1, S]`.
    Padded { shape: Value, key_mask: Value },
}

/// An encoder's result.
pub(super) struct Encoded {
    /// Sum of the three embeddings, before its normalisation, `[N, H]`: where look-up gradients come out.
    pub(super) embeddings: Value,
    /// One row per token, `[N, H]`.
    pub(super) rows: Value,
}

/// Emits the encoder.
pub(super) fn encode(
    tape: &mut Tape,
    config: &EncoderConfig,
    weights: &Weights,
    tokens: &Tokens,
    layout: Layout,
) -> Encoded {
    let heads = Heads { count: config.heads, size: config.hidden / config.heads };
    let embeddings = embed(&mut tape.graph, weights, tokens);
    tape.graph.enter("embeddings");
    let mut x = tape.layer_norm(embeddings, weights.affine("embeddings.LayerNorm"), config.epsilon);
    for layer in 0..config.layers {
        let names = LayerNames::new(layer);
        tape.graph.enter(format!("encoder.layer.{layer}"));
        let stacked = tape.linear(x, weights.affine(&names.stacked));
        let context = match layout {
            Layout::Packed(layout) => tape.packed_attention(stacked, heads, layout),
            Layout::Padded { shape, key_mask } => {
                tape.graph.padded_attention(stacked, heads, shape, key_mask)
            }
        };
        let attended = tape.linear(context, weights.affine(&names.attention_output));
        let sum = tape.residual(attended, x);
        let attended = tape.layer_norm(sum, weights.affine(&names.attention_norm), config.epsilon);
        let wide = tape.linear(attended, weights.affine(&names.intermediate));
        let active = tape.gelu(wide);
        let narrow = tape.linear(active, weights.affine(&names.output));
        let sum = tape.residual(narrow, attended);
        x = tape.layer_norm(sum, weights.affine(&names.output_norm), config.epsilon);
    }
    tape.graph.enter("head");
    Encoded { embeddings, rows: x }
}

fn embed(graph: &mut Graph, weights: &Weights, tokens: &Tokens) -> Value {
    graph.enter("embeddings");
    let word = graph.gather(weights.get(WORD), tokens.ids, 0);
    let position = graph.gather(weights.get(POSITION), tokens.positions, 0);
    let kind = graph.gather(weights.get(TOKEN_TYPE), tokens.types, 0);
    let sum = graph.add(word, kind);
    graph.add(sum, position)
}
