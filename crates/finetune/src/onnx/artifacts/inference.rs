//! The inference model.

use std::collections::BTreeMap;

use crate::model::{EncoderConfig, Head};

use super::super::attention::Heads;
use super::super::dropout::Masks;
use super::super::encoder::{Layout, Tokens, Weights, encode};
use super::super::graph::{Dimension, Element, Graph, Value};
use super::super::parameter::{Parameter, parameters};
use super::super::tape::Tape;
use super::MASKED;

/// Builds the inference model with its weights inside, for any ONNX runtime. It uses standard
/// operators only, and the padded inputs `input_ids`, `attention_mask` and, where transformers
/// exports it, `token_type_ids`, all `[T, S]`.
///
/// An embedding has the first `dimension` columns of the head's.
///
/// `weights` returns the elements of each of [`parameters`]. It is called for one parameter at a
/// time, because the model is large and is in memory once already.
///
/// # Errors
/// The error of `weights`.
pub fn inference_model<E>(
    config: &EncoderConfig,
    head: Head,
    dimension: usize,
    mut weights: impl FnMut(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<Vec<u8>, E> {
    let mut tape = Tape::new();
    let graph = &mut tape.graph;
    let text = [Dimension::from("batch"), Dimension::from("sequence")];
    let [ids, mask] = ["input_ids", "attention_mask"].map(|name| graph.input(name, Element::Int64, &text));
    let types = if config.architecture.description().token_type_input {
        graph.input("token_type_ids", Element::Int64, &text)
    } else {
        graph.ints(&[0])
    };
    let mut values = BTreeMap::new();
    for parameter in parameters(config) {
        let value = graph.weight(&parameter.name, &parameter.shape, &weights(&parameter)?);
        values.insert(parameter.name, value);
    }
    let heads = Heads { count: config.heads, size: config.hidden / config.heads };

    graph.enter("layout");
    let batch_and_length = graph.shape_of(ids);
    let one = graph.int(1);
    let length = graph.gather(batch_and_length, one, 0);
    let positions = positions(graph, config, ids, length, batch_and_length);
    let tail = graph.ints(&[3, heads.count as i64, heads.size as i64]);
    let shape = graph.concat(&[batch_and_length, tail], 0);
    let mask = graph.cast_float(mask);
    let (one, large) = (graph.scalar(1.0), graph.scalar(MASKED));
    let absent = graph.sub(one, mask);
    let key_mask = graph.mul(absent, large);
    let key_mask = graph.unsqueeze(key_mask, &[1, 2]);
    let [ids, positions, types] = [ids, positions, types].map(|indices| graph.reshape(indices, &[-1]));

    let tokens = Tokens { ids, positions, types, shared: None };
    let encoded = encode(
        &mut tape,
        config,
        &Weights(values),
        &tokens,
        Layout::Padded { shape, length, key_mask },
        &Masks::default(),
    );
    let graph = &mut tape.graph;
    let width = graph.ints(&[config.hidden as i64]);
    let padded = graph.concat(&[batch_and_length, width], 0);
    let hidden = graph.reshape_to(encoded.rows, padded);
    let pooled = graph.pool_padded(hidden, mask, head.pooling);
    let embedding = if head.normalize { tape.unit_rows(pooled) } else { pooled };
    let graph = &mut tape.graph;
    let embedding = if dimension < config.hidden {
        let columns: Vec<i64> = (0..).take(dimension).collect();
        let columns = graph.ints(&columns);
        graph.gather(embedding, columns, 1)
    } else {
        embedding
    };
    let dims = ["batch".into(), "sequence".into(), config.hidden.into()];
    graph.output(hidden, "last_hidden_state", Element::Float, &dims);
    let dims = ["batch".into(), dimension.into()];
    graph.output(embedding, "sentence_embedding", Element::Float, &dims);
    Ok(tape.graph.encode("inference", "Sentence embeddings of tokenized texts.", &[]))
}

/// Emits the rows of the position table, `[T, S]`, as transformers numbers them: by position or, in
/// models with a padding row, from the row after that one, counting only tokens that aren't
/// padding.
fn positions(
    graph: &mut Graph,
    config: &EncoderConfig,
    ids: Value,
    length: Value,
    batch_and_length: Value,
) -> Value {
    match config.padding {
        None => {
            let places = graph.range(length);
            graph.expand(places, batch_and_length)
        }
        Some(padding) => {
            let padding = graph.int(padding as i64);
            let present = graph.differs(ids, padding);
            let count = graph.running_sum(present);
            let count = graph.mul(count, present);
            graph.add(count, padding)
        }
    }
}
