//! The files a model is trained and used with.
//!
//! | artifact | inputs | outputs |
//! |---|---|---|
//! | `training_model.onnx` | packed batch, every parameter | `loss`, a gradient per parameter |
//! | `eval_model.onnx` | packed texts, every parameter | `sentence_embedding` |
//! | `optimizer_model.onnx` | a range of parameters, gradients and moments; scalars of the step | the updated ones |
//! | `onnx/model.onnx` of a model folder | `input_ids`, `attention_mask`, `token_type_ids` | `last_hidden_state`, `sentence_embedding` |
//!
//! The first three hold no weights: they depend on the encoder's shape only, and parameters are fed.

use std::collections::BTreeMap;

use crate::model::{EncoderConfig, Head, Pooling};

use super::attention::{Heads, PackedLayout};
use super::contrastive::Loss;
use super::encoder::{Encoded, Layout, Tokens, Weights, encode, parameters};
use super::graph::{Dimension, Element, Graph, Value};
use super::parameter::{GradientForm, Parameter};
use super::tape::{Gradients, Tape};

/// The training graph: loss and gradients.
///
/// Inputs besides those of the [packed layout](PackedLayout) and the parameters: `ids` `[N]`, `positions` `[N]`,
/// `anchor_pooling` and `positive_pooling` `[B, N]` (caller-built pooling matrices, so texts that occur several
/// times are encoded once), `score_mask` and `targets` `[B, B]`.
pub fn training_model(config: &EncoderConfig, loss: Loss, scale: f32) -> Vec<u8> {
    let mut tape = Tape::new();
    let (encoded, values) = packed_encoder(&mut tape, config, true);
    let pooling =
        |tape: &mut Tape, name| tape.graph.input(name, Element::Float, &["pairs".into(), "tokens".into()]);
    let anchor_pooling = pooling(&mut tape, "anchor_pooling");
    let positive_pooling = pooling(&mut tape, "positive_pooling");
    let anchors = tape.combine_rows(anchor_pooling, encoded.rows);
    let anchors = tape.unit_rows(anchors);
    let positives = tape.combine_rows(positive_pooling, encoded.rows);
    let positives = tape.unit_rows(positives);
    let ranked = tape.graph.rank(anchors, positives, loss, scale);
    tape.graph.enter("backward");
    let gradients = tape.backward(&[(anchors, ranked.anchors), (positives, ranked.positives)]);

    let graph = &mut tape.graph;
    graph.output(ranked.loss, "loss", Element::Float, &[]);
    gradient_outputs(graph, &gradients, encoded.embeddings, &values, config);
    graph.encode(
        "training",
        "Loss of a batch of pairs and its gradient with respect to every parameter.",
        &[("loss", format!("{loss:?}")), ("scale", scale.to_string())],
    )
}

/// Declares an output for each parameter's gradient.
pub(super) fn gradient_outputs(
    graph: &mut Graph,
    gradients: &Gradients,
    embeddings: Value,
    values: &[(Parameter, Value)],
    config: &EncoderConfig,
) {
    let rows = [Dimension::from("tokens"), Dimension::from(config.hidden)];
    graph.output(gradients.inputs[&embeddings], "gradient.embeddings", Element::Float, &rows);
    for (parameter, value) in values {
        if parameter.gradient == GradientForm::Dense {
            let gradient = gradients.parameters[value];
            graph.output(gradient, &parameter.gradient_output(), Element::Float, &sizes(&parameter.shape));
        }
    }
}

/// The evaluation graph: sentence embeddings `[T, H]` of packed texts. Input `pooling` is `[T, N]`.
pub fn eval_model(config: &EncoderConfig, head: Head) -> Vec<u8> {
    let mut tape = Tape::new();
    let (encoded, _) = packed_encoder(&mut tape, config, false);
    let pooling = tape.graph.input("pooling", Element::Float, &["texts".into(), "tokens".into()]);
    let mut embedding = tape.combine_rows(pooling, encoded.rows);
    if head.normalise {
        embedding = tape.unit_rows(embedding);
    }
    let dims = ["texts".into(), config.hidden.into()];
    tape.graph.output(embedding, "sentence_embedding", Element::Float, &dims);
    tape.graph.encode("evaluation", "Sentence embeddings of packed texts.", &[])
}

pub(super) fn packed_encoder(
    tape: &mut Tape,
    config: &EncoderConfig,
    backward: bool,
) -> (Encoded, Vec<(Parameter, Value)>) {
    let graph = &mut tape.graph;
    let ids = graph.input("ids", Element::Int64, &["tokens".into()]);
    let positions = graph.input("positions", Element::Int64, &["tokens".into()]);
    let layout = PackedLayout::declare(graph, config.heads, backward);
    let first = graph.ints(&[0]);
    let values: Vec<(Parameter, Value)> = parameters(config)
        .into_iter()
        .map(|parameter| {
            let mut dims = sizes(&parameter.shape);
            if matches!(parameter.gradient, GradientForm::Rows(_)) {
                // Any number of rows: a job feeds only those its texts use.
                dims[0] = Dimension::Symbol(match parameter.name.as_str() {
                    name if name.contains("word") => "vocabulary",
                    name if name.contains("position") => "position_rows",
                    _ => "token_types",
                });
            }
            let value = graph.input(&parameter.name, Element::Float, &dims);
            (parameter, value)
        })
        .collect();
    let weights = Weights(values.iter().map(|(parameter, value)| (parameter.name.clone(), *value)).collect());
    let tokens = Tokens { ids, positions, types: first };
    (encode(tape, config, &weights, &tokens, Layout::Packed(layout)), values)
}

/// One AdamW step over a range of parameters with one weight decay, all `[n]`, in PyTorch's order of operations
/// (`torch.optim.AdamW`): decay, moments, bias correction, update. Scalars: `gradient_scale` (the clipping
/// factor), `learning_rate`, `decay` (`learning_rate * weight_decay`), `correction_1 = 1 - beta_1^t`,
/// `correction_2 = 1 - beta_2^t`.
pub fn optimizer_model(beta_1: f32, beta_2: f32, epsilon: f32) -> Vec<u8> {
    let mut graph = Graph::new();
    let n = [Dimension::from("elements")];
    let [parameter, gradient, first, second] = ["parameters", "gradients", "first_moments", "second_moments"]
        .map(|name| graph.input(name, Element::Float, &n));
    let [gradient_scale, learning_rate, decay, correction_1, correction_2] =
        ["gradient_scale", "learning_rate", "decay", "correction_1", "correction_2"]
            .map(|name| graph.input(name, Element::Float, &[]));
    let one = graph.scalar(1.0);
    let gradient = graph.mul(gradient, gradient_scale);
    let kept = graph.sub(one, decay);
    let decayed = graph.mul(parameter, kept);

    let (keep_1, take_1) = (graph.scalar(beta_1), graph.scalar(1.0 - beta_1));
    let (keep_2, take_2) = (graph.scalar(beta_2), graph.scalar(1.0 - beta_2));
    let (old, new) = (graph.mul(first, keep_1), graph.mul(gradient, take_1));
    let first = graph.add(old, new);
    let square = graph.mul(gradient, gradient);
    let (old, new) = (graph.mul(second, keep_2), graph.mul(square, take_2));
    let second = graph.add(old, new);

    let root = graph.sqrt(second);
    let root_correction = graph.sqrt(correction_2);
    let root = graph.div(root, root_correction);
    let epsilon = graph.scalar(epsilon);
    let denominator = graph.add(root, epsilon);
    let step_size = graph.div(learning_rate, correction_1);
    let direction = graph.div(first, denominator);
    let change = graph.mul(direction, step_size);
    let updated = graph.sub(decayed, change);
    graph.output(updated, "updated_parameters", Element::Float, &n);
    graph.output(first, "updated_first_moments", Element::Float, &n);
    graph.output(second, "updated_second_moments", Element::Float, &n);
    graph.encode("optimizer", "One AdamW step over a range of parameters.", &[])
}

/// The inference model with its weights inside, for any ONNX runtime: standard operators only, padded inputs
/// `input_ids`, `attention_mask`, `token_type_ids` `[T, S]`. `weights` gives the elements of each of
/// [`parameters`], in order.
pub fn inference_model(
    config: &EncoderConfig,
    head: Head,
    weights: &mut dyn Iterator<Item = Vec<f32>>,
) -> Vec<u8> {
    let mut tape = Tape::new();
    let graph = &mut tape.graph;
    let text = [Dimension::from("batch"), Dimension::from("sequence")];
    let [ids, mask, types] = ["input_ids", "attention_mask", "token_type_ids"]
        .map(|name| graph.input(name, Element::Int64, &text));
    let values: BTreeMap<String, Value> = parameters(config)
        .into_iter()
        .zip(weights)
        .map(|(parameter, elements)| {
            let value = graph.weight(&parameter.name, &parameter.shape, &elements);
            (parameter.name, value)
        })
        .collect();
    let heads = Heads { count: config.heads, size: config.hidden / config.heads };

    graph.enter("layout");
    let batch_and_length = graph.shape_of(ids);
    let one = graph.int(1);
    let length = graph.gather(batch_and_length, one, 0);
    let positions = graph.range(length);
    let positions = graph.expand(positions, batch_and_length);
    let tail = graph.ints(&[3, heads.count as i64, heads.size as i64]);
    let shape = graph.concat(&[batch_and_length, tail], 0);
    let mask = graph.to_float(mask);
    let (one, large) = (graph.scalar(1.0), graph.scalar(MASKED));
    let absent = graph.sub(one, mask);
    let key_mask = graph.mul(absent, large);
    let key_mask = graph.unsqueeze(key_mask, &[1, 2]);
    let [ids, positions, types] = [ids, positions, types].map(|indices| graph.reshape(indices, &[-1]));

    let tokens = Tokens { ids, positions, types };
    let encoded = encode(&mut tape, config, &Weights(values), &tokens, Layout::Padded { shape, key_mask });
    let graph = &mut tape.graph;
    let width = graph.ints(&[config.hidden as i64]);
    let padded = graph.concat(&[batch_and_length, width], 0);
    let hidden = graph.reshape_to(encoded.rows, padded);
    let pooled = match head.pooling {
        Pooling::Cls => {
            let first = graph.int(0);
            graph.gather(hidden, first, 1)
        }
        Pooling::Mean => {
            let weights = graph.unsqueeze(mask, &[-1]);
            let present = graph.mul(hidden, weights);
            let sum = graph.sum(present, 1, false);
            let count = graph.sum(mask, 1, true);
            let least = graph.scalar(1e-9);
            let count = graph.max(count, least);
            graph.div(sum, count)
        }
    };
    let embedding = if head.normalise { tape.unit_rows(pooled) } else { pooled };
    let graph = &mut tape.graph;
    let dims = ["batch".into(), "sequence".into(), config.hidden.into()];
    graph.output(hidden, "last_hidden_state", Element::Float, &dims);
    let dims = ["batch".into(), config.hidden.into()];
    graph.output(embedding, "sentence_embedding", Element::Float, &dims);
    graph.encode("inference", "Sentence embeddings of tokenised texts.", &[])
}

/// Added to the score of a position or pair that must not count: far below any score, far above -infinity so
/// that a row of nothing but masked positions stays finite.
pub const MASKED: f32 = -1e9;

pub(super) fn sizes(shape: &[usize]) -> Vec<Dimension> {
    shape.iter().map(|size| Dimension::Size(*size)).collect()
}
