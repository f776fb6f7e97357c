//! The trainable tensors of an encoder: their names, shapes and how each one's gradient comes out of the graph.

use serde::{Deserialize, Serialize};

/// A trainable tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name in the graphs; the weight file's own, except for a stacked tensor.
    pub name: String,
    /// Tensors of the weight file that make it up, stacked along the first axis; one in most cases.
    pub sources: Vec<String>,
    /// Shape of the whole.
    pub shape: Vec<usize>,
    /// Whether AdamW decays it. Biases and layer normalisation are left alone, as in sentence-transformers.
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

    /// Name of the output that carries its gradient.
    pub fn gradient_output(&self) -> String {
        match self.gradient {
            GradientForm::Dense => format!("gradient.{}", self.name),
            GradientForm::Rows(_) => "gradient.embeddings".to_owned(),
        }
    }
}
