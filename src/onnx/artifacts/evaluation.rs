//! The evaluation graph.

use crate::model::{DropoutRates, EncoderConfig, Head};

use super::super::graph::Element;
use super::super::tape::Tape;
use super::packed_encoder;

/// The evaluation graph: sentence embeddings `[T, H]` of packed texts. Input `pooling` is `[T, N]`; for max
/// pooling it is `[T, T]`, and `text_tokens` `[T, S]` as in training.
pub fn eval_model(config: &EncoderConfig, head: Head) -> Vec<u8> {
    evaluation(Tape::new(), config, head, DropoutRates::OFF)
}

/// The evaluation graph in fused operators, for the CPU; see [`fused_training_model`](super::fused_training_model).
pub fn fused_eval_model(config: &EncoderConfig, head: Head) -> Vec<u8> {
    evaluation(Tape::fused(), config, head, DropoutRates::OFF)
}

/// Either of them with dropout, whose masks are inputs as in training: the first pass over a batch in parts.
pub fn dropped_model(config: &EncoderConfig, head: Head, fused: bool, dropout: DropoutRates) -> Vec<u8> {
    evaluation(if fused { Tape::fused() } else { Tape::new() }, config, head, dropout)
}

fn evaluation(mut tape: Tape, config: &EncoderConfig, head: Head, dropout: DropoutRates) -> Vec<u8> {
    let (encoded, _) = packed_encoder(&mut tape, config, false, dropout);
    let (poolable, of) = tape.poolable(encoded.rows, head.pooling);
    let pooling = tape.graph.input("pooling", Element::Float, &["texts".into(), of]);
    let mut embedding = tape.combine_rows(pooling, poolable);
    if head.normalise {
        embedding = tape.unit_rows(embedding);
    }
    let dims = ["texts".into(), config.hidden.into()];
    tape.graph.output(embedding, "sentence_embedding", Element::Float, &dims);
    tape.graph.encode("evaluation", "Sentence embeddings of packed texts.", &[])
}
