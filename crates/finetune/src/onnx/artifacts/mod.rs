//! The files a model is trained and used with.
//!
//! | artifact | inputs | outputs |
//! |---|---|---|
//! | `training_model.onnx` | packed batch, every parameter | `loss`, a gradient per parameter |
//! | `eval_model.onnx` | packed texts, every parameter | `sentence_embedding` |
//! | `optimizer_model.onnx` | a range of parameters, gradients and moments; scalars of the step | the updated ones |
//! | `onnx/model.onnx` of a model folder | `input_ids`, `attention_mask`, for BERT `token_type_ids` | `last_hidden_state`, `sentence_embedding` |
//!
//! The first three hold no weights: they depend on the encoder's shape only, and parameters are fed.
//!
//! ```text
//! training    loss and gradients
//! evaluation  sentence embeddings of packed texts
//! optimizer   one AdamW step
//! inference   sentence embeddings of padded texts, weights inside
//! resident    optimizer and whole gradients for parameters that stay on a device
//! set         the first three as files, with a manifest
//! ```

mod evaluation;
mod inference;
mod optimizer;
mod resident;
mod set;
mod training;

pub use evaluation::{dropped_model, eval_model};
pub use inference::inference_model;
pub use optimizer::optimizer_model;
pub use resident::{ResidentNames, resident_optimizer_model, resident_sum_model};
pub use set::{ArtifactSet, ArtifactSettings, Manifest};
pub use training::training_model;

use crate::model::{DropoutRates, EncoderConfig};

use super::attention::PackedLayout;
use super::dropout::Masks;
use super::encoder::{Encoded, Layout, Tokens, Weights, encode};
use super::form::GraphForm;
use super::graph::{Dimension, Element, Graph, Value};
use super::names::LayerTensors;
use super::parameter::{GradientForm, Parameter, RowIndex, parameters};
use super::tape::{Gradients, Tape};

/// Added to the score of a position or pair that must not count: far below any score, far above -infinity so
/// that a row of nothing but masked positions stays finite.
pub const MASKED: f32 = -1e9;

/// An encoder over a packed batch.
pub(super) struct Packed {
    pub(super) encoded: Encoded,
    /// What is looked up, and for each of what.
    ids: Value,
    positions: Value,
    looked_up: Dimension,
    /// Every parameter's input.
    parameters: Vec<(Parameter, Value)>,
}

/// The encoder over a packed batch, with its inputs declared: tokens, layout, masks of dropout, parameters.
pub(super) fn packed_encoder(
    tape: &mut Tape,
    config: &EncoderConfig,
    backward: bool,
    dropout: DropoutRates,
) -> Packed {
    let graph = &mut tape.graph;
    // A bias by distance is added to padded scores and a mask multiplies padded probabilities; the fused attention has
    // no padding.
    let plain = config.architecture.description().relative_bias.is_none() && dropout.attention == 0.0;
    let whole_texts = graph.is_fused() && plain;
    // Tokens of one place and kind share a row until they meet others, unless each has its own mask of dropout.
    let shares_rows = whole_texts && dropout.hidden == 0.0;
    let ([ids, positions], looked_up) = match shares_rows {
        true => (["row_ids", "row_positions"], Dimension::from("rows")),
        false => (["ids", "positions"], Dimension::from("tokens")),
    };
    let [ids, positions] =
        [ids, positions].map(|name| graph.input(name, Element::Int64, std::slice::from_ref(&looked_up)));
    let shared = shares_rows.then(|| graph.input("token_rows", Element::Int64, &["tokens".into()]));
    let layout = match whole_texts {
        true => Layout::Texts(graph.input("starts", Element::Int64, &["ends".into()])),
        false => Layout::Packed(PackedLayout::declare(graph, config.heads, backward)),
    };
    let masks = Masks::declare(graph, config, dropout);
    let first = graph.ints(&[0]);
    let values: Vec<(Parameter, Value)> = parameters(config)
        .into_iter()
        .map(|parameter| {
            let value = graph.input(&parameter.name, Element::Float, &parameter_dims(&parameter));
            (parameter, value)
        })
        .collect();
    let weights = Weights(values.iter().map(|(parameter, value)| (parameter.name.clone(), *value)).collect());
    let tokens = Tokens { ids, positions, types: first, shared };
    let encoded = encode(tape, config, &weights, &tokens, layout, &masks);
    Packed { encoded, ids, positions, looked_up, parameters: values }
}

/// A parameter's dimensions as a graph's input.
fn parameter_dims(parameter: &Parameter) -> Vec<Dimension> {
    let mut dims = sizes(&parameter.shape);
    if let GradientForm::Rows(index) = parameter.gradient {
        let rows = match index {
            RowIndex::Ids => "vocabulary",
            RowIndex::Positions => "position_rows",
            RowIndex::First => "token_types",
        };
        // Any number of rows: a job feeds only those its texts use.
        dims[0] = rows.into();
    }
    dims
}

/// Declares an output for each parameter's gradient; see [`GradientForm`] for their shapes, unless the graph is
/// [`GraphForm::Resident`].
pub(super) fn gradient_outputs(
    graph: &mut Graph,
    gradients: &Gradients,
    packed: &Packed,
    config: &EncoderConfig,
) {
    if graph.form == GraphForm::Resident {
        return resident::whole_gradients(graph, gradients, packed);
    }
    let rows = [packed.looked_up.clone(), Dimension::from(config.hidden)];
    graph.output(gradients.inputs[&packed.encoded.embeddings], "gradient.embeddings", Element::Float, &rows);
    for (parameter, value) in &packed.parameters {
        if let Some(names) = parameter.factor_outputs(graph.form) {
            // The first layer's query, key and value are of the rows that were looked up.
            let first = format!("{}.weight", LayerTensors::of(config, 0).stacked);
            let rows = if parameter.name == first { packed.looked_up.clone() } else { "tokens".into() };
            for ((factor, name), width) in gradients.factors[value].iter().zip(names).zip(&parameter.shape) {
                graph.output(*factor, &name, Element::Float, &[rows.clone(), Dimension::Size(*width)]);
            }
        } else if parameter.gradient == GradientForm::Dense {
            let gradient = gradients.parameters[value];
            graph.output(gradient, &parameter.gradient_output(), Element::Float, &sizes(&parameter.shape));
        }
    }
}

fn sizes(shape: &[usize]) -> Vec<Dimension> {
    shape.iter().map(|size| Dimension::Size(*size)).collect()
}
