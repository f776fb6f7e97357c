//! The training graph.

use crate::model::{DropoutRates, EncoderConfig, Pooling};

use super::super::contrastive::Ranking;
use super::super::form::GraphForm;
use super::super::graph::Element;
use super::super::tape::Tape;
use super::{gradient_outputs, packed_encoder};

/// Builds the training graph: loss and gradients.
///
/// Inputs besides the packed layout and the parameters (`onnx/README.md` lists all): `ids` `[N]`,
/// `positions` `[N]`, `anchor_pooling` and `positive_pooling` `[B, N]`, `score_mask` and `targets`
/// `[B, B]`. The caller builds the pooling matrices, so that a text which occurs several times is
/// encoded once.
///
/// With hard negatives `positive_pooling` is `[C, N]`, with their rows after those of the
/// positives, and `score_mask` and `targets` are `[B, C]`.
///
/// For max pooling the pooling matrices are `[B, T]` and select texts, and `text_tokens` `[T, S]`
/// holds the rows of each text. Shorter texts repeat their first row at the end.
///
/// With dropout the graph has one more input for each of
/// [`dropout_places`](crate::onnx::dropout_places).
///
/// These are the inputs and outputs of [`GraphForm::Standard`]. The documentation of `form`
/// describes the differences of the other forms.
pub fn training_model(
    form: GraphForm,
    config: &EncoderConfig,
    pooling: Pooling,
    ranking: Ranking,
    dropout: DropoutRates,
) -> Vec<u8> {
    let mut tape = Tape::of(form);
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
