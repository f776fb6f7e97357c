//! The supported encoder architectures and their differences: tensor names, embedding tables, the
//! first position, and attention's bias by distance.
//!
//! All are post-norm transformer encoders with the same layers. Source: `modeling_*.py` of Hugging
//! Face transformers for each `model_type`.

use serde::{Deserialize, Serialize};

/// An architecture that can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// BERT.
    Bert,
    /// RoBERTa.
    Roberta,
    /// XLM-RoBERTa: RoBERTa with another vocabulary.
    XlmRoberta,
    /// DistilBERT: no token types.
    #[serde(rename = "distilbert")]
    DistilBert,
    /// MPNet: no token types, attention scores biased by distance.
    Mpnet,
}

/// Properties in which an architecture differs from the others.
#[derive(Debug)]
pub struct Description {
    /// Value of `model_type` in `config.json`.
    pub model_type: &'static str,
    /// Prefix of tensor names in a file saved from a model with a task head.
    pub prefix: &'static str,
    /// True when the embeddings include a token-type table.
    pub token_types: bool,
    /// True when an exported model has the input `token_type_ids`, as in the exports of
    /// transformers.
    pub token_type_input: bool,
    /// Position of a text's first token.
    pub positions: Positions,
    /// Name of the table of biases that are added to attention scores by distance, if there is one.
    pub relative_bias: Option<&'static str>,
    /// True when dropout follows attention's output layer: in every architecture but DistilBERT.
    pub attention_output_dropout: bool,
    /// Names of a layer's tensors.
    pub layer: LayerNames,
}

/// Row of the position table that a text's first token uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Row 0.
    FromZero,
    /// The row after that of `pad_token_id`: fairseq numbers positions this way.
    AfterPadding,
    /// The row after that of token 1, which is the padding whatever `pad_token_id` says.
    AfterTokenOne,
}

/// Names of a layer's tensors, without `.weight` and `.bias`, below `layers.N.`.
#[derive(Debug)]
pub struct LayerNames {
    /// Module that holds the numbered layers.
    pub layers: &'static str,
    /// Query, key and value.
    pub attention: [&'static str; 3],
    /// Name of the three as one stacked tensor. The name is this crate's own.
    pub stacked: &'static str,
    /// Linear layer after attention, and the layer normalization after that.
    pub attention_output: [&'static str; 2],
    /// Feed-forward layer that widens the rows.
    pub intermediate: &'static str,
    /// Feed-forward layer that narrows the rows again, and the layer normalization after it.
    pub output: [&'static str; 2],
}

const BERT_LAYER: LayerNames = LayerNames {
    layers: "encoder.layer",
    attention: ["attention.self.query", "attention.self.key", "attention.self.value"],
    stacked: "attention.self.query_key_value",
    attention_output: ["attention.output.dense", "attention.output.LayerNorm"],
    intermediate: "intermediate.dense",
    output: ["output.dense", "output.LayerNorm"],
};

const BERT: Description = Description {
    model_type: "bert",
    prefix: "bert.",
    token_types: true,
    token_type_input: true,
    positions: Positions::FromZero,
    relative_bias: None,
    attention_output_dropout: true,
    layer: BERT_LAYER,
};

const ROBERTA: Description = Description {
    model_type: "roberta",
    prefix: "roberta.",
    token_types: true,
    token_type_input: false,
    positions: Positions::AfterPadding,
    relative_bias: None,
    attention_output_dropout: true,
    layer: BERT_LAYER,
};

const XLM_ROBERTA: Description = Description { model_type: "xlm-roberta", ..ROBERTA };

const DISTILBERT: Description = Description {
    model_type: "distilbert",
    prefix: "distilbert.",
    token_types: false,
    token_type_input: false,
    positions: Positions::FromZero,
    relative_bias: None,
    attention_output_dropout: false,
    layer: LayerNames {
        layers: "transformer.layer",
        attention: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
        stacked: "attention.qkv_lin",
        attention_output: ["attention.out_lin", "sa_layer_norm"],
        intermediate: "ffn.lin1",
        output: ["ffn.lin2", "output_layer_norm"],
    },
};

const MPNET: Description = Description {
    model_type: "mpnet",
    prefix: "mpnet.",
    token_types: false,
    token_type_input: false,
    positions: Positions::AfterTokenOne,
    relative_bias: Some("encoder.relative_attention_bias.weight"),
    attention_output_dropout: true,
    layer: LayerNames {
        layers: "encoder.layer",
        attention: ["attention.attn.q", "attention.attn.k", "attention.attn.v"],
        stacked: "attention.attn.qkv",
        attention_output: ["attention.attn.o", "attention.LayerNorm"],
        intermediate: "intermediate.dense",
        output: ["output.dense", "output.LayerNorm"],
    },
};

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 5] = [Self::Bert, Self::Roberta, Self::XlmRoberta, Self::DistilBert, Self::Mpnet];

    /// Names of all supported architectures, for error messages.
    pub const SUPPORTED: &str = "bert, roberta, xlm-roberta, distilbert, mpnet";

    /// Returns the architecture with this `model_type` in `config.json`.
    pub fn from_model_type(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.description().model_type == name)
    }

    /// Returns the properties of this architecture.
    pub fn description(self) -> &'static Description {
        match self {
            Self::Bert => &BERT,
            Self::Roberta => &ROBERTA,
            Self::XlmRoberta => &XLM_ROBERTA,
            Self::DistilBert => &DISTILBERT,
            Self::Mpnet => &MPNET,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supported_are_named_and_found() {
        let names = Architecture::ALL.map(|architecture| architecture.description().model_type);
        assert_eq!(names.join(", "), Architecture::SUPPORTED);
        for (architecture, name) in Architecture::ALL.into_iter().zip(names) {
            assert_eq!(Architecture::from_model_type(name), Some(architecture));
            assert_eq!(serde_json::to_value(architecture).unwrap(), name);
        }
    }
}
