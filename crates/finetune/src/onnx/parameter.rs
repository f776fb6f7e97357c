//! The trainable tensors of an encoder: their names, shapes and how each one's gradient comes out of the graph.

use serde::{Deserialize, Serialize};

use crate::model::EncoderConfig;

use super::form::GraphForm;
use super::names::{EMBEDDING_NORM, LayerTensors, POSITION, TOKEN_TYPE, WORD};

/// A trainable tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name in the graphs; the weight file's own, except for a stacked tensor.
    pub name: String,
    /// Tensors of the weight file that make it up, stacked along the first axis; one in most cases.
    pub sources: Vec<String>,
    /// Shape of the whole.
    pub shape: Vec<usize>,
    /// Whether AdamW decays it. Biases and layer normalization are left alone, as in sentence-transformers.
    pub decays: bool,
    /// How its gradient comes out of the training graph.
    pub gradient: GradientForm,
}

/// How a parameter's gradient comes out of the training graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GradientForm {
    /// An output of the parameter's own shape, called `gradient.<name>`.
    Dense,
    /// A look-up table: token `i`'s row of the output `gradient.embeddings` `[N, H]` belongs to the table's
    /// row `index[i]`, and the caller adds it up.
    Rows(RowIndex),
}

/// Which row of a look-up table a token used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowIndex {
    /// The graph input `ids`.
    Ids,
    /// The graph input `positions`.
    Positions,
    /// Row 0 for every token: texts are single segments.
    First,
}

impl Parameter {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Shape of each of its [`sources`](Self::sources).
    pub fn source_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        shape[0] /= self.sources.len();
        shape
    }

    /// Names of the outputs that carry its gradient's two factors, `[N, out]` and `[N, in]`, if it has them in a graph of this
    /// form: in [`GraphForm::Factored`], if it is the weight of a linear layer.
    pub fn factor_outputs(&self, form: GraphForm) -> Option<[String; 2]> {
        let weight = self.gradient == GradientForm::Dense && self.decays;
        (weight && form == GraphForm::Factored)
            .then(|| ["upstream", "input"].map(|factor| format!("{factor}.{}", self.name)))
    }

    /// Name of the output that carries its gradient.
    pub fn gradient_output(&self) -> String {
        match self.gradient {
            GradientForm::Dense => format!("gradient.{}", self.name),
            GradientForm::Rows(_) => "gradient.embeddings".to_owned(),
        }
    }
}

/// The encoder's trainable tensors, in the order in which a checkpoint stores them: decayed ones first, so that
/// each of the optimizer's two groups is one contiguous range.
pub fn parameters(config: &EncoderConfig) -> Vec<Parameter> {
    let mut all = tables(config);
    all.extend(["weight", "bias"].map(|part| dense(&format!("{EMBEDDING_NORM}.{part}"), &[config.hidden])));
    for layer in 0..config.layers {
        all.extend(layer_parameters(config, &LayerTensors::of(config, layer)));
    }
    // Stable: keeps the model's order within each group.
    all.sort_by_key(|parameter| !parameter.decays);
    all
}

fn tables(config: &EncoderConfig) -> Vec<Parameter> {
    let table = |name: &str, rows: usize, index: RowIndex| Parameter {
        name: name.to_owned(),
        sources: vec![name.to_owned()],
        shape: vec![rows, config.hidden],
        decays: true,
        gradient: GradientForm::Rows(index),
    };
    let mut tables = vec![
        table(WORD, config.vocabulary, RowIndex::Ids),
        table(POSITION, config.positions, RowIndex::Positions),
    ];
    if config.token_types > 0 {
        tables.push(table(TOKEN_TYPE, config.token_types, RowIndex::First));
    }
    if let Some(name) = config.architecture.description().relative_bias {
        // A bias by name and by nature: transformers' Trainer doesn't decay it either.
        let shape = vec![config.relative_buckets, config.heads];
        tables.push(Parameter { decays: false, ..dense(name, &shape) });
    }
    tables
}

fn layer_parameters(config: &EncoderConfig, names: &LayerTensors) -> Vec<Parameter> {
    let (h, f) = (config.hidden, config.intermediate);
    let mut all = Vec::new();
    for (part, shape) in [("weight", vec![3 * h, h]), ("bias", vec![3 * h])] {
        let sources = names.attention.iter().map(|side| format!("{side}.{part}")).collect();
        all.push(Parameter { sources, ..dense(&format!("{}.{part}", names.stacked), &shape) });
    }
    for (base, out, input) in
        [(&names.attention_output, h, h), (&names.intermediate, f, h), (&names.output, h, f)]
    {
        all.push(dense(&format!("{base}.weight"), &[out, input]));
        all.push(dense(&format!("{base}.bias"), &[out]));
    }
    for base in [&names.attention_norm, &names.output_norm] {
        all.extend(["weight", "bias"].map(|part| dense(&format!("{base}.{part}"), &[h])));
    }
    all
}

/// A tensor that stands in the weight file as it is, decayed if it is a matrix.
fn dense(name: &str, shape: &[usize]) -> Parameter {
    Parameter {
        name: name.to_owned(),
        sources: vec![name.to_owned()],
        shape: shape.to_vec(),
        decays: shape.len() > 1,
        gradient: GradientForm::Dense,
    }
}
