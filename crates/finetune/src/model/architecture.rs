//! The encoder architectures, told apart by what differs between them: tensor names, embedding parts, where
//! positions start, and how attention knows distances.
//!
//! All are post-norm transformer encoders of the same layers. Source: `modeling_*.py` of Hugging Face
//! transformers for each `model_type`.

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

/// What sets an architecture apart.
#[derive(Debug)]
pub struct Description {
    /// What `config.json` calls it.
    pub model_type: &'static str,
    /// What stands before tensor names in a file saved from a model with a task head.
    pub prefix: &'static str,
    /// Whether a token-type table is added to the embeddings.
    pub token_types: bool,
    /// Whether an exported model has the input `token_type_ids`, as transformers exports it.
    pub token_type_input: bool,
    /// Where positions start.
    pub positions: Positions,
    /// Table of the bias that distance adds to attention scores, if there is one.
    pub relative_bias: Option<&'static str>,
    /// Whether dropout follows attention's linear layer, as it does but in DistilBERT.
    pub attention_output_dropout: bool,
    /// Names of a layer's tensors.
    pub layer: LayerNames,
}

/// Which row of the position table a text's first token uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Row 0.
    FromZero,
    /// The row behind that of `pad_token_id`: fairseq numbers positions so.
    BehindPadding,
    /// Likewise, but whatever `pad_token_id` says, the padding is token 1.
    BehindTokenOne,
}

/// Names of a layer's tensors, without `.weight` and `.bias`, below `layers.N.`.
#[derive(Debug)]
pub struct LayerNames {
    /// What holds the numbered layers.
    pub layers: &'static str,
    /// Query, key and value.
    pub attention: [&'static str; 3],
    /// What the three are called stacked; a name of ours.
    pub stacked: &'static str,
    /// The linear layer behind attention, and the normalization behind that.
    pub attention_output: [&'static str; 2],
    /// The feed-forward layer that widens.
    pub intermediate: &'static str,
    /// The one that narrows again, and the normalization behind it.
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
    positions: Positions::BehindPadding,
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
    positions: Positions::BehindTokenOne,
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

    /// Their names, for whoever brought another one.
    pub const SUPPORTED: &str = "bert, roberta, xlm-roberta, distilbert, mpnet";

    /// The architecture that `config.json` calls by this name.
    pub fn from_model_type(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.description().model_type == name)
    }

    /// What sets it apart.
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
