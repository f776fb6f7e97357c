//! The encoder's shape, read from a model folder's `config.json`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::architecture::Positions;
use super::files::shown;
use super::{Architecture, ModelError};

/// Shape of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// Architecture of the encoder.
    pub architecture: Architecture,
    /// Number of transformer layers.
    pub layers: usize,
    /// Width `H` of a token's row.
    pub hidden: usize,
    /// Number of attention heads, a divisor of `hidden`.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Number of rows of the token table.
    pub vocabulary: usize,
    /// Number of rows of the position table.
    pub positions: usize,
    /// Number of rows of the token-type table; 0 when there is none.
    pub token_types: usize,
    /// Number of distance buckets, each with a bias per head; 0 when there is no such bias.
    pub relative_buckets: usize,
    /// Token id of the padding, in architectures whose positions start after its row.
    pub padding: Option<usize>,
    /// Epsilon of layer normalization.
    pub epsilon: f32,
    /// Dropout rates of training.
    pub dropout: DropoutRates,
}

/// Dropout rates, each at least 0 and below 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutRates {
    /// Rate of the rows after the embeddings and before each residual connection.
    pub hidden: f32,
    /// Rate of the attention probabilities.
    pub attention: f32,
}

impl DropoutRates {
    /// Rates of zero: no dropout.
    pub const OFF: Self = Self { hidden: 0.0, attention: 0.0 };
}

/// Fields of `config.json`, under BERT's names.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    hidden_act: Option<String>,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    /// Heads that are left out, by layer.
    #[serde(default)]
    pruned_heads: Option<Value>,
    /// Format of weights that are packed into fewer bits.
    #[serde(default)]
    quantization_config: Option<Value>,
    /// Classes of the repository's own code that compute the model, or read its tokenizer.
    #[serde(default)]
    auto_map: Option<Value>,
    #[serde(default)]
    chunk_size_feed_forward: Option<usize>,
    /// Set when a token sees only the tokens before it. Version 5 of transformers reads it.
    #[serde(default)]
    is_causal: Option<bool>,
    /// Set when DistilBERT's position table is computed, not trained.
    #[serde(default)]
    sinusoidal_pos_embds: bool,
    num_hidden_layers: usize,
    hidden_size: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "default_token_types")]
    type_vocab_size: usize,
    #[serde(default = "default_buckets")]
    relative_attention_num_buckets: usize,
    #[serde(default)]
    pad_token_id: Option<usize>,
    #[serde(default = "default_epsilon")]
    layer_norm_eps: f32,
    #[serde(default = "default_dropout")]
    hidden_dropout_prob: f32,
    #[serde(default = "default_dropout")]
    attention_probs_dropout_prob: f32,
    /// DistilBERT's rate. This is not an alias, since a file may contain the other names, too.
    #[serde(default = "default_dropout")]
    dropout: f32,
    #[serde(default = "default_dropout")]
    attention_dropout: f32,
}

/// DistilBERT's names of fields, and BERT's. A file that has both means the first.
const OF_DISTILBERT: [(&str, &str); 5] = [
    ("activation", "hidden_act"),
    ("n_layers", "num_hidden_layers"),
    ("dim", "hidden_size"),
    ("n_heads", "num_attention_heads"),
    ("hidden_dim", "intermediate_size"),
];

// Defaults that the configuration classes of transformers use for absent fields.
fn default_token_types() -> usize {
    2
}

fn default_buckets() -> usize {
    32
}

fn default_epsilon() -> f32 {
    1e-12
}

fn default_dropout() -> f32 {
    0.1
}

/// Padding token of RoBERTa when `pad_token_id` is absent, and always of MPNet.
const TOKEN_ONE: usize = 1;

impl EncoderConfig {
    /// Parses `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Config`] when the JSON is malformed or lacks a field.
    /// [`ModelError::Unsupported`] when it describes an encoder whose gradients this crate can't
    /// compute.
    pub fn parse(json: &[u8]) -> Result<Self, ModelError> {
        let config = |source| ModelError::Config { file: "config.json", source };
        let architecture = architecture(json)?;
        let mut fields: Map<String, Value> = serde_json::from_slice(json).map_err(config)?;
        if architecture == Architecture::DistilBert {
            fields.remove("hidden_act");
            for (own, berts) in OF_DISTILBERT {
                if let Some(value) = fields.remove(own) {
                    fields.insert(berts.to_owned(), value);
                }
            }
        }
        let raw: Raw = serde_json::from_value(fields.into()).map_err(config)?;
        raw.check()?;
        let description = architecture.description();
        let padding = match description.positions {
            Positions::FromZero => None,
            Positions::AfterPadding => Some(raw.pad_token_id.unwrap_or(TOKEN_ONE)),
            Positions::AfterTokenOne => Some(TOKEN_ONE),
        };
        let config = Self {
            architecture,
            layers: raw.num_hidden_layers,
            hidden: raw.hidden_size,
            heads: raw.num_attention_heads,
            intermediate: raw.intermediate_size,
            vocabulary: raw.vocab_size,
            positions: raw.max_position_embeddings,
            token_types: if description.token_types { raw.type_vocab_size } else { 0 },
            relative_buckets: if description.relative_bias.is_some() {
                raw.relative_attention_num_buckets
            } else {
                0
            },
            padding,
            epsilon: raw.layer_norm_eps,
            dropout: raw.dropout_rates(architecture),
        };
        if config.longest() < 2 {
            return unsupported(
                "max_position_embeddings",
                &config.positions.to_string(),
                "room for two tokens after the padding's row",
            );
        }
        Ok(config)
    }

    /// Returns the class of the tokenizer that `config.json` names, if it does.
    pub(super) fn tokenizer_class(json: &[u8]) -> Result<Option<String>, ModelError> {
        #[derive(Deserialize)]
        struct Named {
            tokenizer_class: Option<String>,
        }
        let named: Named = serde_json::from_slice(json)
            .map_err(|source| ModelError::Config { file: "config.json", source })?;
        Ok(named.tokenizer_class)
    }

    /// Returns the row of the position table that a text's first token uses.
    pub fn first_position(&self) -> usize {
        self.padding.map_or(0, |padding| padding.saturating_add(1))
    }

    /// Returns the length in tokens of the longest text that the position table has rows for.
    pub fn longest(&self) -> usize {
        self.positions.saturating_sub(self.first_position())
    }
}

/// Reads the architecture before the other fields: the file of an unknown architecture may lack
/// them.
fn architecture(json: &[u8]) -> Result<Architecture, ModelError> {
    #[derive(Deserialize)]
    struct Kind {
        model_type: Option<String>,
    }
    let kind: Kind =
        serde_json::from_slice(json).map_err(|source| ModelError::Config { file: "config.json", source })?;
    let name = kind.model_type.as_deref().unwrap_or("nothing");
    match Architecture::from_model_type(name) {
        Some(architecture) => Ok(architecture),
        None => unsupported("model_type", name, Architecture::SUPPORTED),
    }
}

impl Raw {
    fn dropout_rates(&self, architecture: Architecture) -> DropoutRates {
        let (hidden, attention) = match architecture {
            Architecture::DistilBert => (self.dropout, self.attention_dropout),
            _ => (self.hidden_dropout_prob, self.attention_probs_dropout_prob),
        };
        DropoutRates { hidden, attention }
    }

    /// Refuses features that the graphs don't compute, and sizes that can't make an encoder.
    fn check(&self) -> Result<(), ModelError> {
        match self.hidden_act.as_deref() {
            None | Some("gelu") => {}
            Some(other) => return unsupported("hidden_act", other, "gelu"),
        }
        match self.position_embedding_type.as_deref() {
            None | Some("absolute") => {}
            Some(other) => return unsupported("position_embedding_type", other, "absolute"),
        }
        if self.is_decoder {
            return unsupported("is_decoder", "true", "false");
        }
        if self.is_causal == Some(true) {
            return unsupported("is_causal", "true", "false");
        }
        for (what, value) in [
            ("pruned_heads", &self.pruned_heads),
            ("quantization_config", &self.quantization_config),
            ("auto_map", &self.auto_map),
        ] {
            match value {
                None | Some(Value::Null) => {}
                Some(Value::Object(empty)) if empty.is_empty() => {}
                Some(_) => return unsupported(what, "set", "none"),
            }
        }
        if let Some(size @ 1..) = self.chunk_size_feed_forward {
            return unsupported("chunk_size_feed_forward", &size.to_string(), "0");
        }
        if self.sinusoidal_pos_embds {
            return unsupported("sinusoidal_pos_embds", "true", "false");
        }
        // Many times the sizes of the largest encoders.
        let sizes = [
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("num_attention_heads", self.num_attention_heads, 1 << 16),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("vocab_size", self.vocab_size, 1 << 24),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
            ("type_vocab_size", self.type_vocab_size, 1 << 16),
        ];
        for (what, size, most) in sizes {
            if size == 0 || size > most {
                return unsupported(what, &size.to_string(), "a positive number of a usual size");
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return unsupported(
                "hidden_size",
                &self.hidden_size.to_string(),
                "a multiple of num_attention_heads",
            );
        }
        let rates = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
        ];
        for (what, rate) in rates {
            if !(0.0..1.0).contains(&rate) {
                return unsupported(what, &rate.to_string(), "at least 0 and below 1");
            }
        }
        // transformers computes with 32 buckets, whatever the table's size.
        if self.relative_attention_num_buckets != default_buckets() {
            let found = self.relative_attention_num_buckets.to_string();
            return unsupported("relative_attention_num_buckets", &found, "32");
        }
        Ok(())
    }
}

fn unsupported<T>(what: &'static str, found: &str, supported: &'static str) -> Result<T, ModelError> {
    Err(ModelError::Unsupported { what, found: shown(&found.into()), supported })
}
