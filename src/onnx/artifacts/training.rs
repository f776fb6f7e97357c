//! The training graph.

use crate::model::{DropoutRates, EncoderConfig, Pooling};

use super::super::contrastive::Ranking;
use super::super::graph::Element;
use super::super::tape::Tape;
use super::{gradient_outputs, packed_encoder};

/// The training graph: loss and gradients.
///
/// Inputs besides those of the packed layout (`onnx/README.md` has all) and the parameters: `ids` `[N]`, `positions` `[N]`,
/// `anchor_pooling` and `positive_pooling` `[B, N]` (caller-built pooling matrices, so texts that occur several
/// times are encoded once), `score_mask` and `targets` `[B, B]`. With hard negatives `positive_pooling` is `[C, N]`, their
/// rows behind the positives', and the last two are `[B, C]`. For max pooling the matrices are `[B, T]` and pick
/// texts, and `text_tokens` `[T, S]` holds each text's rows, shorter ones filled up with their first.
///
/// With dropout there is an input more for each of [`dropout_places`](crate::onnx::dropout_places).
pub fn training_model(
    config: &EncoderConfig,
    pooling: Pooling,
    ranking: Ranking,
    dropout: DropoutRates,
) -> Vec<u8> {
    training(Tape::new(), config, pooling, ranking, dropout)
}

/// The training graph in fused operators, for the CPU ([`Runtime::fused`](crate::onnx::Runtime::fused)). It takes
/// `starts` `[T + 1]`, the first row of each text and the number of rows, in place of the packed layout, unless
/// distances have a bias (MPNet) or attention has dropout.
pub fn fused_training_model(
    config: &EncoderConfig,
    pooling: Pooling,
    ranking: Ranking,
    dropout: DropoutRates,
) -> Vec<u8> {
    training(Tape::fused(), config, pooling, ranking, dropout)
}

/// The training graph for few rows, in standard operators: the gradient of a linear layer's weight `[out, in]` comes out as
/// two factors, `upstream.<name>` `[N, out]` and `input.<name>` `[N, in]`, whose product `upstream^T input` it is. With fewer
/// rows than either side has numbers, the factors are the smaller, and the optimiser can make the gradient where it uses it.
pub fn factored_training_model(
    config: &EncoderConfig,
    pooling: Pooling,
    ranking: Ranking,
    dropout: DropoutRates,
) -> Vec<u8> {
    let mut tape = Tape::new();
    tape.graph.factored = true;
    training(tape, config, pooling, ranking, dropout)
}

pub(super) fn training(
    mut tape: Tape,
    config: &EncoderConfig,
    pooling: Pooling,
    ranking: Ranking,
    dropout: DropoutRates,
) -> Vec<u8> {
    let packed = packed_encoder(&mut tape, config, true, dropout);
    let (poolable, of) = tape.poolable(packed.encoded.rows, pooling);
    let anchor_pooling = tape.graph.input("anchor_pooling", Element::Float, &["pairs".into(), of.clone()]);
    let positive_pooling = tape.graph.input("positive_pooling", Element::Float, &[ranking.candidates(), of]);
    let anchors = tape.combine_rows(anchor_pooling, poolable);
    let anchors = tape.unit_rows(anchors);
    let candidates = tape.combine_rows(positive_pooling, poolable);
    let candidates = tape.unit_rows(candidates);
    let ranked = tape.graph.rank(anchors, candidates, ranking);
    tape.graph.enter("backward");
    let gradients = tape.backward(&[(anchors, ranked.anchors), (candidates, ranked.candidates)]);

    let graph = &mut tape.graph;
    graph.output(ranked.loss, "loss", Element::Float, &[]);
    gradient_outputs(graph, &gradients, &packed, config);
    tape.graph.encode(
        "training",
        "Loss of a batch of pairs and its gradient with respect to every parameter.",
        &[("loss", format!("{:?}", ranking.loss)), ("scale", ranking.scale.to_string())],
    )
}
