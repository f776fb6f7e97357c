//! The training graph.

use crate::model::{DropoutRates, EncoderConfig, Pooling};

use super::super::contrastive::Loss;
use super::super::graph::Element;
use super::super::tape::Tape;
use super::{gradient_outputs, packed_encoder};

/// The training graph: loss and gradients.
///
/// Inputs besides those of the packed layout (`onnx/README.md` has all) and the parameters: `ids` `[N]`, `positions` `[N]`,
/// `anchor_pooling` and `positive_pooling` `[B, N]` (caller-built pooling matrices, so texts that occur several
/// times are encoded once), `score_mask` and `targets` `[B, B]`. For max pooling the matrices are `[B, T]` and pick
/// texts, and `text_tokens` `[T, S]` holds each text's rows, shorter ones filled up with their first.
///
/// With dropout there is an input more for each of [`dropout_places`](crate::onnx::dropout_places).
pub fn training_model(
    config: &EncoderConfig,
    pooling: Pooling,
    loss: Loss,
    scale: f32,
    dropout: DropoutRates,
) -> Vec<u8> {
    training(Tape::new(), config, pooling, loss, scale, dropout)
}

/// The training graph in fused operators, for the CPU ([`Runtime::fused`](crate::onnx::Runtime::fused)). It takes
/// `starts` `[T + 1]`, the first row of each text and the number of rows, in place of the packed layout, unless
/// distances have a bias (MPNet) or attention has dropout.
pub fn fused_training_model(
    config: &EncoderConfig,
    pooling: Pooling,
    loss: Loss,
    scale: f32,
    dropout: DropoutRates,
) -> Vec<u8> {
    training(Tape::fused(), config, pooling, loss, scale, dropout)
}

pub(super) fn training(
    mut tape: Tape,
    config: &EncoderConfig,
    pooling: Pooling,
    loss: Loss,
    scale: f32,
    dropout: DropoutRates,
) -> Vec<u8> {
    let packed = packed_encoder(&mut tape, config, true, dropout);
    let (poolable, of) = tape.poolable(packed.encoded.rows, pooling);
    let [anchor_pooling, positive_pooling] = ["anchor_pooling", "positive_pooling"]
        .map(|name| tape.graph.input(name, Element::Float, &["pairs".into(), of.clone()]));
    let anchors = tape.combine_rows(anchor_pooling, poolable);
    let anchors = tape.unit_rows(anchors);
    let positives = tape.combine_rows(positive_pooling, poolable);
    let positives = tape.unit_rows(positives);
    let ranked = tape.graph.rank(anchors, positives, loss, scale);
    tape.graph.enter("backward");
    let gradients = tape.backward(&[(anchors, ranked.anchors), (positives, ranked.positives)]);

    let graph = &mut tape.graph;
    graph.output(ranked.loss, "loss", Element::Float, &[]);
    gradient_outputs(graph, &gradients, &packed, config);
    tape.graph.encode(
        "training",
        "Loss of a batch of pairs and its gradient with respect to every parameter.",
        &[("loss", format!("{loss:?}")), ("scale", scale.to_string())],
    )
}
