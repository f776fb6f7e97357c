//! The evaluation graph.

use crate::model::{DropoutRates, EncoderConfig, Head};

use super::super::form::GraphForm;
use super::super::graph::Element;
use super::super::tape::Tape;
use super::packed_encoder;

/// Builds the evaluation graph: sentence embeddings `[T, H]` of packed texts. The input `pooling`
/// is `[T, N]`. For max pooling it is `[T, T]`, and `text_tokens` is `[T, S]` as in training.
pub fn eval_model(config: &EncoderConfig, head: Head) -> Vec<u8> {
    dropped_model(GraphForm::Standard, config, head, DropoutRates::OFF)
}

/// Builds the evaluation graph with dropout, whose masks are inputs as in training. This graph is
/// the first pass over a batch in parts. It has no gradients, so the forms differ only in their
/// operators, fused or standard.
pub fn dropped_model(form: GraphForm, config: &EncoderConfig, head: Head, dropout: DropoutRates) -> Vec<u8> {
    let mut tape = Tape::of(form);
    let packed = packed_encoder(&mut tape, config, false, dropout);
    let (poolable, of) = tape.poolable(packed.encoded.rows, head.pooling);
    let pooling = tape.graph.input("pooling", Element::Float, &["texts".into(), of]);
    let mut embedding = tape.combine_rows(pooling, poolable);
    if head.normalize {
        embedding = tape.unit_rows(embedding);
    }
    let dims = ["texts".into(), config.hidden.into()];
    tape.graph.output(embedding, "sentence_embedding", Element::Float, &dims);
    tape.graph.encode("evaluation", "Sentence embeddings of packed texts.", &[])
}
