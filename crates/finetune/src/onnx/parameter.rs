//! The trainable tensors of an encoder: names, shapes, and the form in which the graph returns each
//! gradient.

use serde::{Deserialize, Serialize};

use crate::model::EncoderConfig;

use super::form::GraphForm;
use super::names::{EMBEDDING_NORM, LayerTensors, POSITION, TOKEN_TYPE, WORD};

/// A trainable tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name in the graphs: the weight file's name, except for a stacked tensor.
    pub name: String,
    /// Names of the tensors in the weight file that make up this one, stacked along the first axis.
    /// Usually one.
    pub sources: Vec<String>,
    /// Shape of the whole tensor.
    pub shape: Vec<usize>,
    /// Set when AdamW decays this parameter. Biases and layer normalization aren't decayed, as in
    /// sentence-transformers.
    pub decays: bool,
    /// Form in which the training graph returns the gradient.
    pub gradient: GradientForm,
}

/// Form in which the training graph returns a parameter's gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GradientForm {
    /// An output `gradient.<name>` of the parameter's shape.
    Dense,
    /// The gradient of a look-up table. Row `i` of the output `gradient.embeddings` `[N, H]`
    /// belongs to token `i`, and the caller adds it to row `index[i]` of the table's gradient.
    Rows(RowIndex),
}

/// Source of the row number that a token uses in a look-up table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowIndex {
    /// The graph input `ids`.
    Ids,
    /// The graph input `positions`.
    Positions,
    /// Row 0 for every token, because texts are single segments.
    First,
}

impl Parameter {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Shape of each of the [`sources`](Self::sources).
    pub fn source_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        shape[0] /= self.sources.len();
        shape
    }

    /// Names of the outputs for the gradient's two factors, `[N, out]` and `[N, in]`. `None` unless
    /// the form is [`GraphForm::Factored`] and this parameter is the weight of a linear layer.
    pub fn factor_outputs(&self, form: GraphForm) -> Option<[String; 2]> {
        let weight = self.gradient == GradientForm::Dense && self.decays;
        (weight && form == GraphForm::Factored)
            .then(|| ["upstream", "input"].map(|factor| format!("{factor}.{}", self.name)))
    }

    /// Name of the output for the gradient.
    pub fn gradient_output(&self) -> String {
        match self.gradient {
            GradientForm::Dense => format!("gradient.{}", self.name),
            GradientForm::Rows(_) => "gradient.embeddings".to_owned(),
        }
    }
}

/// Returns the encoder's trainable tensors in checkpoint order. Decayed tensors come first, so that
/// each of the optimizer's two groups is one contiguous range.
pub fn parameters(config: &EncoderConfig) -> Vec<Parameter> {
    let mut all = tables(config);
    all.extend(["weight", "bias"].map(|part| dense(&format!("{EMBEDDING_NORM}.{part}"), &[config.hidden])));
    for layer in 0..config.layers {
        all.extend(layer_parameters(config, &LayerTensors::of(config, layer)));
    }
    // The sort is stable, so each group keeps the model's order.
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
        // transformers' Trainer doesn't decay the relative position bias either: it is a bias by
        // name and by function.
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

/// Returns a tensor that is stored unstacked in the weight file, decayed if it is a matrix.
fn dense(name: &str, shape: &[usize]) -> Parameter {
    Parameter {
        name: name.to_owned(),
        sources: vec![name.to_owned()],
        shape: shape.to_vec(),
        decays: shape.len() > 1,
        gradient: GradientForm::Dense,
    }
}
