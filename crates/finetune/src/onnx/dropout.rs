//! Dropout as a product with masks that the caller draws: its places in an encoder, and its
//! backward pass.
//!
//! A mask holds 0 for a dropped value and `1 / (1 - rate)` for any other, so the graph only
//! multiplies, and the same masks give the same bits. The places are those of transformers: after
//! the embeddings' normalization, on the attention probabilities, and before each residual
//! (`modeling_*.py`).

use std::collections::HashMap;

use crate::model::{DropoutRates, EncoderConfig};

use super::graph::{Dimension, Element, Graph, Value};
use super::names::LayerTensors;
use super::tape::{Gradients, Step, Tape};

/// Shape of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskShape {
    /// Token rows, `[N, H]`.
    Rows,
    /// Attention probabilities, `[T, A, S, S]`.
    Attention,
}

/// A place where an encoder drops values in training.
#[derive(Debug, Clone, PartialEq)]
pub struct DropoutPlace {
    /// Name of the graph input that takes the mask.
    pub name: String,
    /// Shape of the mask.
    pub shape: MaskShape,
    /// Share of dropped values, above 0 and below 1.
    pub rate: f32,
}

/// Returns an encoder's places in the order of the forward pass, without those whose rate is 0.
pub fn dropout_places(config: &EncoderConfig, rates: DropoutRates) -> Vec<DropoutPlace> {
    let place = |base: &str, what: &str, shape| {
        let rate = match shape {
            MaskShape::Rows => rates.hidden,
            MaskShape::Attention => rates.attention,
        };
        DropoutPlace { name: mask_name(base, what), shape, rate }
    };
    let mut places = vec![place(EMBEDDINGS, OUTPUT, MaskShape::Rows)];
    for layer in 0..config.layers {
        let base = LayerTensors::of(config, layer).base;
        places.push(place(&base, ATTENTION, MaskShape::Attention));
        if config.architecture.description().attention_output_dropout {
            places.push(place(&base, ATTENTION_OUTPUT, MaskShape::Rows));
        }
        places.push(place(&base, OUTPUT, MaskShape::Rows));
    }
    places.retain(|place| place.rate > 0.0);
    places
}

/// Base name of the embeddings' mask.
pub(super) const EMBEDDINGS: &str = "embeddings";
/// Place on the attention probabilities.
pub(super) const ATTENTION: &str = "attention";
/// Place after attention's linear layer, before the residual.
pub(super) const ATTENTION_OUTPUT: &str = "attention_output";
/// Place after the embeddings' normalization, or after the feed-forward layer and before the
/// residual.
pub(super) const OUTPUT: &str = "output";

fn mask_name(base: &str, what: &str) -> String {
    format!("dropout.{base}.{what}")
}

/// Mask inputs of a graph, by name. Empty in a graph without dropout.
#[derive(Default)]
pub(super) struct Masks(HashMap<String, Value>);

impl Masks {
    /// Declares an input for each place.
    pub(super) fn declare(graph: &mut Graph, config: &EncoderConfig, rates: DropoutRates) -> Self {
        let masks = dropout_places(config, rates).into_iter().map(|place| {
            let (t, s) = (|| Dimension::from("texts"), || Dimension::from("length"));
            let dims = match place.shape {
                MaskShape::Rows => vec!["tokens".into(), config.hidden.into()],
                MaskShape::Attention => vec![t(), config.heads.into(), s(), s()],
            };
            let mask = graph.input(&place.name, Element::Float, &dims);
            (place.name, mask)
        });
        Self(masks.collect())
    }

    /// Returns the mask of a place, if the graph has one there.
    pub(super) fn get(&self, base: &str, what: &str) -> Option<Value> {
        self.0.get(&mask_name(base, what)).copied()
    }
}

impl Tape {
    /// Emits `x * mask`, or returns `x` itself without a mask.
    pub(super) fn dropout(&mut self, x: Value, mask: Option<Value>) -> Value {
        let Some(mask) = mask else { return x };
        let y = self.graph.mul(x, mask);
        self.record(Dropout { x, mask, y })
    }
}

struct Dropout {
    x: Value,
    mask: Value,
    y: Value,
}

impl Step for Dropout {
    fn output(&self) -> Value {
        self.y
    }

    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let x = graph.mul(upstream, self.mask);
        gradients.add(graph, self.x, x);
    }
}
