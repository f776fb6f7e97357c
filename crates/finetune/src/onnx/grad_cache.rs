//! The training graph in two halves, so that a batch can be larger than what fits in memory at once
//! (GradCache, Gao et al. 2021). Training embeds the texts some at a time, ranks all embeddings,
//! and backpropagates the loss's gradient with respect to each embedding through the encoder, again
//! some texts at a time.
//!
//! The gradients are those of the whole graph, up to rounding, at the cost of encoding every text
//! twice. The first pass uses the evaluation graph, or with dropout a similar graph that takes the
//! same masks as the second pass.

use crate::model::{DropoutRates, EncoderConfig, Pooling};

use super::artifacts::{gradient_outputs, packed_encoder};
use super::contrastive::Ranking;
use super::form::GraphForm;
use super::graph::{Dimension, Element, Graph};
use super::tape::Tape;

/// Builds the graph of the loss of unit embeddings and its gradient with respect to them.
///
/// Inputs: `anchors` `[B, H]`, `positives` `[C, H]` (the hard negatives follow the positives),
/// `score_mask` and `targets` `[B, C]`. Outputs: `loss`, `gradient.anchors`, `gradient.positives`.
pub fn ranking_model(hidden: usize, ranking: Ranking) -> Vec<u8> {
    let mut graph = Graph::new();
    let dims = [Dimension::from("pairs"), Dimension::from(hidden)];
    let candidate_dims = [ranking.candidates(), Dimension::from(hidden)];
    let anchors = graph.input("anchors", Element::Float, &dims);
    let candidates = graph.input("positives", Element::Float, &candidate_dims);
    let ranked = graph.rank(anchors, candidates, ranking);
    graph.output(ranked.loss, "loss", Element::Float, &[]);
    graph.output(ranked.anchors, "gradient.anchors", Element::Float, &dims);
    graph.output(ranked.candidates, "gradient.positives", Element::Float, &candidate_dims);
    graph.encode("ranking", "Loss of embeddings and its gradient with respect to them.", &[])
}

/// Builds the graph that computes the parameters' gradients from those of some texts' unit
/// embeddings.
///
/// Inputs besides the packed layout and the parameters: `pooling` `[T, N]`, `seeds` `[T, H]`. For
/// max pooling `pooling` is `[T, T]`, and `text_tokens` is `[T, S]` as in training. The masks of
/// dropout are those of training, too. Outputs: the gradients, as in the training graph of this
/// form.
pub fn seeded_model(
    form: GraphForm,
    config: &EncoderConfig,
    pooling: Pooling,
    dropout: DropoutRates,
) -> Vec<u8> {
    let mut tape = Tape::of(form);
    let packed = packed_encoder(&mut tape, config, true, dropout);
    let (poolable, of) = tape.poolable(packed.encoded.rows, pooling);
    let pooling = tape.graph.input("pooling", Element::Float, &["texts".into(), of]);
    let seeds = tape.graph.input("seeds", Element::Float, &["texts".into(), config.hidden.into()]);
    let pooled = tape.combine_rows(pooling, poolable);
    let embeddings = tape.unit_rows(pooled);
    tape.graph.enter("backward");
    let gradients = tape.backward(&[(embeddings, seeds)]);
    gradient_outputs(&mut tape.graph, &gradients, &packed, config);
    tape.graph.encode("seeded", "Gradients of parameters from those of embeddings.", &[])
}
