//! The model files for training and inference.
//!
//! | artifact | inputs | outputs |
//! |---|---|---|
//! | `training_model.onnx` | packed batch, every parameter | `loss`, a gradient per parameter |
//! | `eval_model.onnx` | packed texts, every parameter | `sentence_embedding` |
//! | `optimizer_model.onnx` | parameters, gradients, moments, scalars | the new state |
//! | `onnx/model.onnx` | tokenized texts | `last_hidden_state`, `sentence_embedding` |
//!
//! The optimizer graph updates any range of parameters, with the scalars of the optimizer step. It
//! returns the new parameters and moments. `onnx/model.onnx` is part of a model folder, and takes
//! `input_ids`, `attention_mask` and, for BERT, `token_type_ids`.
//!
//! The first three artifacts hold no weights: they depend only on the encoder's shape, and the
//! caller feeds the parameters.
//!
//! ```text
//! training    loss and gradients
//! evaluation  sentence embeddings of packed texts
//! optimizer   one AdamW step
//! inference   sentence embeddings of padded texts, with the weights inside
//! resident    optimizer and full-shape gradients, for parameters that stay on a device
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

/// Term added to the score of a position or pair that must not count. It is far below any score,
/// but far above -infinity, so that a row of only masked positions stays finite.
pub const MASKED: f32 = -1e9;

/// An encoder over a packed batch, with its inputs.
pub(super) struct Packed {
    pub(super) encoded: Encoded,
    /// Rows to look up in the token and position tables, and the dimension that counts them.
    ids: Value,
    positions: Value,
    looked_up: Dimension,
    /// Parameters, each with its graph input.
    parameters: Vec<(Parameter, Value)>,
}

/// Emits the encoder over a packed batch, and declares its inputs: tokens, layout, masks of
/// dropout, parameters.
pub(super) fn packed_encoder(
    tape: &mut Tape,
    config: &EncoderConfig,
    backward: bool,
    dropout: DropoutRates,
) -> Packed {
    let graph = &mut tape.graph;
    // A relative position bias is added to padded scores, and a mask of dropout multiplies padded
    // probabilities. Fused attention has no padding, so it supports neither.
    let plain = config.architecture.description().relative_bias.is_none() && dropout.attention == 0.0;
    let whole_texts = graph.is_fused() && plain;
    // Tokens with the same id and position share a row until attention mixes the tokens of a text,
    // unless each token has its own mask of dropout.
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

/// Returns a parameter's dimensions as a graph input.
fn parameter_dims(parameter: &Parameter) -> Vec<Dimension> {
    let mut dims = sizes(&parameter.shape);
    if let GradientForm::Rows(index) = parameter.gradient {
        let rows = match index {
            RowIndex::Ids => "vocabulary",
            RowIndex::Positions => "position_rows",
            RowIndex::First => "token_types",
        };
        // The number of rows is open, because a run feeds only those that its texts use.
        dims[0] = rows.into();
    }
    dims
}

/// Declares an output for each parameter's gradient. [`GradientForm`] describes their shapes,
/// unless the graph is [`GraphForm::Resident`].
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
            // The first layer computes query, key and value for each looked-up row.
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
